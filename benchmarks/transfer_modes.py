"""Freeze, let the upper half learn, or fine-tune: accuracy and seconds by data set and number of labels.

    python benchmarks/transfer_modes.py --data DATA_FOLDER                # everything that is not in the results yet
    python benchmarks/transfer_modes.py --data DATA_FOLDER --quick        # nsmc and trec, 100 labels, one seed: two or three minutes
    python benchmarks/transfer_modes.py --data DATA_FOLDER --estimate     # what is missing, and about how long it will take
    python benchmarks/transfer_modes.py --table                           # Markdown, for docs/results.md

DATA_FOLDER holds `nsmc/train.csv`, `nsmc/validation.csv`, `sst2/train.csv`, `sst2/dev.csv`, `trec/train.csv`, `question_pair/train.csv` and
`question_pair/dev.csv`. Set TF_USE_LEGACY_KERAS as you like; each row says which Keras it was.

Each seed draws its own training texts, classes in proportion; all modes of one seed get the same. Texts that are also in the test file
are left out of training, and nothing is tuned on the test file: epochs and rates are those of `tl_keras/advice/rules.py`. The modes:

- `tf-idf`: logistic regression on TF-IDF, scikit-learn (of pairs: on what the two texts share and what only one has);
- `freeze`: the linear head of `text_classifier(..., "freeze", pooling="mean")`, trained on the encoder's vectors, computed once;
- `top`: the upper half of the blocks, the pooler and the head; `top-1`, `top-2`, ... can be asked for besides;
- `fine-tune`: everything; `gradual`: everything, one block more at a time.

`evidence` is what `advise` finds out from the same training texts, for benchmarks/advice.py. Seconds are those of training (for `freeze` with the
encoding of the training texts), without loading, building the graph and scoring: `seconds` on the clock, `cpu_seconds` of the processor,
which other programs on the machine hardly change. Raw results, a row for each seed: benchmarks/results/transfer_modes.json.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from labelled_data import DATA
from rows import add_row, read_rows

RESULTS = Path(__file__).parent / "results" / "transfer_modes.json"
MODES = ("tf-idf", "evidence", "freeze", "top", "fine-tune")
SHOWN = ("tf-idf", "freeze", "top-1", "top", "gradual", "fine-tune")
LABELS = (100, 1000)
SEEDS = (0, 1)
KEY = ("data", "mode", "encoder", "labels", "seed")


def missing_runs(options) -> list[tuple[str, str, int, int]]:
    """`(data, mode, labels, seed)` of what is asked for and not measured yet."""
    done = {tuple(row[k] for k in KEY) for row in read_rows(RESULTS)}
    encoder = Path(options.encoder).name
    return [
        (data, mode, labels, seed)
        for data in options.sets
        for mode in options.modes
        for labels in options.labels
        for seed in options.seeds
        if (data, mode, None if mode == "tf-idf" else encoder, labels, seed) not in done
    ]


def estimate(runs: list[tuple[str, str, int, int]]) -> str:
    """About how long the missing runs take on two cores with ko-en-small, from what is measured or else from what it is made of."""
    known: dict[tuple[str, str, int], list[float]] = {}
    for row in read_rows(RESULTS):
        known.setdefault((row["data"], row["mode"], row["labels"]), []).append(row["seconds"])
    # Training examples a second, and what scoring the test file adds.
    speed = {"top": 300.0, "top-1": 350.0, "fine-tune": 170.0, "gradual": 150.0}
    scoring = {"nsmc": 8.0, "sst2": 2.0, "trec": 1.5, "question_pair": 1.0}
    epochs = {100: 15, 1000: 6, 5000: 3}
    total = 0.0
    for data, mode, labels, _ in runs:
        if (data, mode, labels) in known:
            total += statistics.mean(known[data, mode, labels])
        elif mode in speed:
            total += labels * epochs.get(labels, 4) / speed[mode]
        else:
            total += {"tf-idf": 1.0, "freeze": 4.0, "evidence": 6.0}.get(mode, 10.0) * max(labels / 1000, 0.3)
        total += scoring.get(data, 2.0) * (mode in speed)
    total += 15 * len({(data, mode) for data, mode, _, _ in runs if mode in speed}) + 20 * len({run[0] for run in runs})
    return f"{len(runs)} runs are missing: about {total / 60:.0f} minutes"


def cells(rows: list[dict], encoder: str) -> dict[tuple[str, int], dict[str, list[dict]]]:
    """The rows of each data set and number of labels, by mode."""
    found: dict = {}
    for row in rows:
        if row["encoder"] in (None, encoder):
            found.setdefault((row["data"], row["labels"]), {}).setdefault(row["mode"], []).append(row)
    return dict(sorted(found.items(), key=lambda item: (list(DATA).index(item[0][0]), item[0][1])))


def table(encoder: str) -> str:
    """Mean and spread over seeds of accuracy, and seconds, in Markdown: a row for each data set and number of labels."""
    found = cells(read_rows(RESULTS), encoder)
    modes = [mode for mode in SHOWN if any(mode in cell for cell in found.values())]
    lines = [f"| {encoder}, labels | " + " | ".join(modes) + " |", "|---" * (len(modes) + 1) + "|"]
    for (data, labels), cell in found.items():
        row = []
        for mode in modes:
            measured = cell.get(mode, [])
            if not measured:
                row.append("")
                continue
            accuracy = [entry["accuracy"] for entry in measured]
            spread = f" ± {statistics.stdev(accuracy):.1f}" if len(accuracy) > 1 else ""
            seconds = [entry["cpu_seconds"] for entry in measured if "cpu_seconds" in entry]
            timed = f" ({statistics.mean(seconds):.0f} s)" if seconds else ""
            row.append(f"{statistics.mean(accuracy):.1f}{spread}{timed}")
        seeds = max(len(cell[mode]) for mode in cell)
        lines.append(f"| {data}, {labels:,} ({seeds} seed{'s' * (seeds > 1)}) | " + " | ".join(row) + " |")
    return "\n".join(
        [*lines, "", "Accuracy in percent, mean ± standard deviation over seeds; CPU seconds of training."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the data sets")
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--sets", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--modes", nargs="+", default=list(MODES), help=f"of {', '.join(MODES)}, gradual, top-1, ...")
    parser.add_argument("--labels", type=int, nargs="+", default=list(LABELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--quick", action="store_true", help="nsmc and trec, 100 labels, one seed")
    for name in ("estimate", "table"):
        parser.add_argument(f"--{name}", action="store_true", help="see above; measures nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file with the raw rows")
    options = parser.parse_args()
    globals()["RESULTS"] = options.results
    if options.quick:
        options.sets, options.labels, options.seeds = ["nsmc", "trec"], [100], [0]
    encoder = Path(options.encoder).name
    if options.estimate:
        print(estimate(missing_runs(options)))
    if options.table:
        print(table(encoder))
    if options.estimate or options.table:
        return
    if options.data is None:
        parser.error("--data is needed to measure")

    from mode_runs import Bench

    from tl_keras._keras import KERAS_NAME

    runs = missing_runs(options)
    print(estimate(runs), flush=True)
    for data in dict.fromkeys(run[0] for run in runs):
        mine = [run for run in runs if run[0] == data]
        bench = Bench(data, options.data, options.encoder, {(labels, seed) for _, _, labels, seed in mine})
        for _, mode, labels, seed in mine:
            key = {
                "data": data,
                "mode": mode,
                "encoder": None if mode == "tf-idf" else encoder,
                "labels": labels,
                "seed": seed,
            }
            real = len(bench.rows[labels, seed])
            facts = {"trained_on": real, "tested_on": len(bench.test)}
            learned = {} if mode in ("tf-idf", "evidence") else {"keras": KERAS_NAME}
            row = {**key, **bench.run(mode, labels, seed), **facts, **learned}
            add_row(RESULTS, row, KEY)
    print(table(encoder))


if __name__ == "__main__":
    main()
