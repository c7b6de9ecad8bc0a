"""What every process of `make bench` shares, whatever library it measures: the clocks, the texts, and the line it prints. No TensorFlow."""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "data"
BATCH, RATE, POOL = 32, 5e-5, 64


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """Measure a block: `wall_s`, and `cpu_s` of all threads of this process, which other programs on the machine change least."""
    times: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield times
    times.update(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


def peak_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mb() -> float:
    """The resident memory of this process now, in MB."""
    fields = Path("/proc/self/status").read_text().split("\n")
    return next(int(line.split()[1]) for line in fields if line.startswith("VmRSS")) / 1024


def mb_a_model(resident: list[float]) -> float:
    """By how much resident memory grows with each model: the median of the slopes between all pairs, from the second model on.

    The first fills pools that later ones use again, and memory that is given back now and then makes single differences mean little.

    Args:
        resident: MB after each model.

    Source: the Theil-Sen estimator, https://doi.org/10.1080/01621459.1968.10480934.

    Example:
        >>> mb_a_model([500, 100, 103, 900, 109, 112])
        3.0
    """
    later = resident[1:]
    slopes = [(b - a) / (j - i) for i, a in enumerate(later) for j, b in enumerate(later) if j > i]
    return round(statistics.median(slopes), 1)


def read_texts(data: str | None, kind: str, count: int) -> tuple[list[str], list[int]]:
    """Texts and 0/1 labels, the same in every process.

    Args:
        data: folder with `sst2/train.csv`, `nsmc/train.csv` and `korquad/train.json`; None for the sample data of this repository.
        kind: `sst2` (short, English), `nsmc` (short, Korean) or `korquad` (paragraphs, Korean; the labels mean nothing).
        count: drawn without repetition as long as there are enough, then over again with a number behind each.
    """
    if kind == "korquad":
        path = Path(data, "korquad", "train.json") if data else SAMPLES / "questions_ko.json"
        paragraphs = [p["context"] for d in json.loads(path.read_text("utf-8"))["data"] for p in d["paragraphs"]]
        rows = [(text, len(text) % 2) for text in dict.fromkeys(paragraphs)]
    else:
        path = Path(data, kind, "train.csv") if data else SAMPLES / f"reviews_{'ko' if kind == 'nsmc' else 'en'}.csv"
        with open(path, encoding="utf-8", newline="") as stream:
            table = list(csv.DictReader(stream))
        first = table[0]["label"]
        rows = [(row.get("document") or row.get("text") or "", int(row["label"] != first)) for row in table]
    random.Random(0).shuffle(rows)
    # Beyond what there is, each gets a number, so that as many strings are held in memory as are counted.
    texts = [rows[i % len(rows)][0] + (f" {i}" if i >= len(rows) else "") for i in range(count)]
    return texts, [rows[i % len(rows)][1] for i in range(count)]


def like_lengths(lengths: list[int], seed: int) -> list[list[int]]:
    """Row numbers of batches of texts of like length: shuffled, sorted within pools, the batches shuffled again."""
    chance, order, found = random.Random(seed), list(range(len(lengths))), []
    chance.shuffle(order)
    for start in range(0, len(order), BATCH * POOL):
        pool = sorted(order[start : start + BATCH * POOL], key=lengths.__getitem__)
        found += [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
    chance.shuffle(found)
    return found


def main(jobs: dict[str, Callable[[argparse.Namespace], dict]]) -> None:
    """Do the job that the command line names, and print what it measured as the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=sorted(jobs))
    parser.add_argument("--data")
    parser.add_argument("--texts", default="sst2", choices=("sst2", "nsmc", "korquad"))
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--length", type=int, default=128, help="longest input in tokens")
    parser.add_argument("--layers", type=int, help="of the encoder, the first so many blocks only")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batches", choices=("random", "like"), default="like")
    parser.add_argument("--encoder", help="encoder pair")
    parser.add_argument("--weights", help="the same weights as a Hugging Face folder")
    parser.add_argument("--folder", type=Path, help="an export")
    options = parser.parse_args()
    print(json.dumps(jobs[options.job](options)), file=sys.stdout, flush=True)
