"""The published executable reads every Parquet file of tests/fixtures/parquet as the JSON Lines of the same rows:
each physical type, compression, encoding and page version, natively compiled.

    python3 bench/parquet_types.py --gemma2 artifacts/gemma2-nano
"""
import argparse, glob, os, subprocess, sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = os.path.join(REPOSITORY, "tests/fixtures/parquet")


def inspect(exe, file):
    done = subprocess.run([exe, "data", "inspect", file, "--model", os.path.join(REPOSITORY, "tests/fixtures/reference/checkpoint"), "--json"], capture_output=True, text=True)
    # Rows without a field are told by number, in either kind of file.
    return done.stdout, done.stderr.replace(file, "FILE").replace(", row ", ", line "), done.returncode


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--gemma2", "--exe", required=True, dest="exe")
    exe = os.path.abspath(p.parse_args().exe)
    kinds = sorted(glob.glob(FILES + "/*.jsonl"), key=len, reverse=True)
    files = sorted(glob.glob(FILES + "/*.parquet"))
    wrong = 0
    for file in files:
        same = next(k for k in kinds if os.path.basename(file).startswith(os.path.basename(k)[:-6]))
        if inspect(exe, file) != inspect(exe, same):
            wrong += 1
            print(f"{file} is not {same}")
    print(f"{len(files)} files, {wrong} wrong")
    sys.exit(wrong > 0 or len(files) == 0)


main()
