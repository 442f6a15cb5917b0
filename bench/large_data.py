"""Writes JSON Lines of a given size for trying how data is streamed: texts of random words, every one another.

    bench/large_data.py /tmp/large.jsonl 5e9
"""
import random
import sys


def main(path: str, size: int) -> None:
    rng = random.Random(1)
    words = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(1, 9))) for _ in range(20_000)]
    # One piece of a few MB, cut at another place for every line, is many times faster than choosing each word.
    text = " ".join(rng.choice(words) for _ in range(1_000_000))
    written = 0
    with open(path, "w", encoding="utf-8", buffering=1 << 20) as out:
        number = 0
        while written < size:
            at, length = rng.randrange(len(text) - 4000), rng.randint(100, 4000)
            line = f'{{"prompt":"{number} {text[at:at + 40]}","completion":" {text[at + 40:at + length]}"}}\n'
            out.write(line)
            written += len(line)
            number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(float(sys.argv[2])))
