"""Parquet files that pyarrow writes, read by the published executable: of many small ones the documents are those of JSON Lines with the rows that pyarrow reads;
of a file of some GB, written with pyarrow's defaults, the number of rows, the memory, and the time until the first step.

    python3 bench/parquet_pyarrow.py --gemma2 artifacts/gemma2-nano [--bytes 5e9] [--large-alone] [--dir FOLDER]

Needs pyarrow and no GPU. The exit code is 1 where something differs."""
import argparse, concurrent.futures, json, os, random, re, shutil, subprocess, sys, tempfile, threading, time

import pyarrow as pa
import pyarrow.parquet as pq

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODEL = os.path.join(REPOSITORY, "tests/fixtures/reference/checkpoint")
# Columns that examples have; others are not read.
FIELDS = ("input_ids", "labels", "messages", "instruction", "input", "output", "prompt", "completion", "text")
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
# What pyarrow writes when it is not told anything, and what it can be told.
OPTIONS = {"defaults": {}} | {
    f"{compression}, pages {version}, {'dictionary' if dictionary else 'plain'}": {"compression": compression, "data_page_version": version, "use_dictionary": dictionary}
    for compression in ("snappy", "gzip", "zstd", "brotli", "lz4", "none") for version in ("1.0", "2.0") for dictionary in (True, False)
} | {
    "row groups of 7": {"row_group_size": 7},
    "small pages": {"data_page_size": 64, "write_batch_size": 4, "use_dictionary": False},
    "small pages of codes": {"data_page_size": 64, "write_batch_size": 4, "dictionary_pagesize_limit": 64},
    "format 1.0": {"version": "1.0", "store_schema": False},
    "page index": {"write_page_index": True, "write_statistics": True},
    "checksums": {"write_page_checksum": True},
    "lists of old": {"use_compliant_nested_type": False},
}


def words(rng):
    """Some MB of random words; a cut at a random place is quick to make and unlike every other."""
    kinds = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(1, 9))) for _ in range(20_000)]
    return " ".join(rng.choice(kinds) for _ in range(1_000_000))


def tables(rng, text):
    """Small tables of every kind of example, by name, with nulls."""
    def cut(most):
        at = rng.randrange(len(text) - most)
        return f"é {rng.randrange(1000)} \U0001F600 {text[at:at + rng.randint(1, most)]}"

    def chats(n):
        return [None if i % 13 == 5
                else [{"role": "user" if t % 2 == 0 else "assistant", "content": None if i % 29 == 7 and t == 1 else cut(300)} for t in range(2 * (i % 3 + 1))]
                for i in range(n)]

    n = 60
    texts = [None if i % 7 == 3 else cut(400) for i in range(n)]
    ids = [None if i % 11 == 5 else [rng.randrange(3, 300) for _ in range(i % 5 + 1)] for i in range(n)]
    other = {"id": pa.array(range(n), pa.int64()), "score": pa.array([i / 7 for i in range(n)]),
             "flag": pa.array([i % 2 == 0 for i in range(n)]), "source": pa.array([{"url": "x", "seen": [1, 2]}] * n)}
    yield "text", pa.table({"text": pa.array(texts, pa.string())})
    yield "large text", pa.table({"text": pa.array(texts, pa.large_string())})
    yield "text of few kinds", pa.table({"text": pa.array(["one", "two", None] * (n // 3)).dictionary_encode()})
    yield "instructions", pa.table({"instruction": pa.array([cut(50) for _ in range(n)]), "input": pa.array([None if i % 2 else cut(50) for i in range(n)]),
                                    "output": pa.array([cut(99) for _ in range(n)]), **other})
    yield "messages", pa.table({"messages": pa.array(chats(n), pa.list_(MESSAGE)), **other})
    yield "messages in large lists", pa.table({"messages": pa.array(chats(n), pa.large_list(MESSAGE))})
    yield "ids", pa.table({"input_ids": pa.array(ids, pa.list_(pa.int32())), "labels": pa.array(ids, pa.list_(pa.int64()))})
    yield "long", pa.table({"prompt": pa.array([cut(90) for _ in range(1500)]), "completion": pa.array([cut(6000) for _ in range(1500)])})


def inspect(exe, file, *more):
    return subprocess.run([exe, "data", "inspect", file, "--model", MODEL, "--seq", "8192", *more], capture_output=True, text=True)


def documents(exe, file):
    done = inspect(exe, file, "--json")
    # Rows are told by number, lines too.
    return done.stdout, done.stderr.replace(file, "FILE").replace(", row ", ", line "), done.returncode


def small(exe, folder, name, table, options):
    """What is wrong with the file, and how many documents it has."""
    path = os.path.join(folder, re.sub(r"\W+", "-", f"{name} {options}"))
    try:
        pq.write_table(table, path + ".parquet", **OPTIONS[options])
    except (TypeError, ValueError, NotImplementedError, pa.ArrowException) as e:
        return f"pyarrow does not write it: {e}", 0
    rows = pq.ParquetFile(path + ".parquet").read().to_pylist()
    with open(path + ".jsonl", "w", encoding="utf-8") as f:
        # A column's null is a field that is not there; one inside of a message stays.
        f.writelines(json.dumps({k: row[k] for k in FIELDS if row.get(k) is not None}, ensure_ascii=False) + "\n" for row in rows)
    ours, same = documents(exe, path + ".parquet"), documents(exe, path + ".jsonl")
    count = ours[0].count("\n")
    return ("" if ours == same and count > 0 else f"{count} documents, {same[0].count(chr(10))} of pyarrow's rows; {ours[1][-300:]} | {same[1][-300:]}"), count


def write_large(path, size, rng, text):
    """Conversations until the file has the size: row groups of 1,048,576 rows, which are pyarrow's defaults. The number of rows."""
    rows, number, writer, draw, places = 0, 0, None, rng.random, len(text) - 1000
    while writer is None or os.path.getsize(path) < size:
        parts = []
        for _ in range(8):
            contents, offsets = [], [0]
            for _ in range(1 << 17):
                for _ in range(2 + 2 * int(3 * draw())):
                    at = int(places * draw())
                    contents.append(f"{number} {text[at:at + 20 + int(980 * draw())]}")
                    number += 1
                offsets.append(len(contents))
            roles = pa.array(["user", "assistant"] * (len(contents) // 2))
            struct = pa.StructArray.from_arrays([roles, pa.array(contents, pa.string())], fields=list(MESSAGE))
            parts.append(pa.table({"messages": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), struct)}))
        table = pa.concat_tables(parts)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        rows += table.num_rows
    writer.close()
    return rows


def cold(path):
    """What the system holds of the file is dropped."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(command, until=None):
    """Exit code, output, seconds until a line that begins so (None: to the end) and peak memory in MiB."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryFile("w+") as errors:
        begin, seconds, output, peak = time.monotonic(), None, "", [0]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | {"GRAPH_CACHE": cache})

        # What wait4 says has this process's own peak in it, from before the new program began.
        def watch():
            while process.poll() is None:
                try:
                    with open(f"/proc/{process.pid}/status") as status:
                        peak[0] = max([peak[0], *(int(line.split()[1]) for line in status if line.startswith("VmHWM"))])
                except OSError:
                    break
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for line in process.stdout:
            output += line
            if until and seconds is None and line.startswith(until):
                seconds = time.monotonic() - begin
        watcher.join()
        errors.seek(0)
        return process.returncode, output + errors.read(), seconds or time.monotonic() - begin, peak[0] / 1024


def large(exe, path, rows, folder):
    """Whether the file of many GB is read right, with what was measured."""
    cold(path)
    code, said, first, peak = measured([exe, "train", "--variant", "nano", "--model", MODEL, "--device", "cpu", "--data", path,
                                        "--over-length", "truncate", "--seq", "2048", "--batch-tokens", "2048", "--steps", "1",
                                        "--out", os.path.join(folder, "out")], "step 1/")
    print(f"train: first step after {first:.1f} s, cold, peak {peak:.0f} MiB", said[-400:] if code else "", flush=True)
    seen_code, seen, took, seen_peak = measured([exe, "data", "inspect", path, "--model", MODEL, "--seq", "8192"])
    counted = int(found.group(1)) if (found := re.match(r"(\d+) lines", seen)) else -1
    print(f"data inspect: {seen.splitlines()[0] if seen else ''}; {took:.0f} s, peak {seen_peak:.0f} MiB; pyarrow has {rows} rows", flush=True)
    return code == 0 and seen_code == 0 and counted == rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gemma2", "--exe", required=True, dest="exe")
    p.add_argument("--bytes", type=float, default=5e9, help="of the large file; 0: none")
    p.add_argument("--large-alone", action="store_true", help="no small files")
    p.add_argument("--dir", help="where files are written; the system's temporary folder when left out")
    a = p.parse_args()
    exe, folder, rng = os.path.abspath(a.exe), tempfile.mkdtemp(prefix="graph-pyarrow-", dir=a.dir), random.Random(1)
    text, wrong = words(rng), 0
    cases = [(name, table, options) for name, table in ([] if a.large_alone else tables(rng, text)) for options in OPTIONS]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(lambda c: small(exe, folder, *c), cases))
    for (name, _, options), (fault, _) in zip(cases, done):
        wrong += bool(fault)
        if fault:
            print(f"wrong: {name}, {options}: {fault}")
    print(f"pyarrow {pa.__version__}: {len(cases)} files, {sum(n for _, n in done)} documents, {wrong} files wrong", flush=True)
    if a.bytes:
        path, begin = os.path.join(folder, "large.parquet"), time.monotonic()
        rows = write_large(path, a.bytes, rng, text)
        meta = pq.ParquetFile(path).metadata
        print(f"{os.path.getsize(path) / 1e9:.1f} GB, {meta.num_rows} rows in {meta.num_row_groups} row groups of "
              f"{meta.row_group(0).total_byte_size / 1e9:.1f} GB, written in {time.monotonic() - begin:.0f} s", flush=True)
        wrong += not large(exe, path, rows, folder)
    shutil.rmtree(folder)
    sys.exit(wrong > 0)


main()
