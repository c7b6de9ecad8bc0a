"""Which epoch's weights should a run keep? Each epoch scored on validation rows and on rows kept apart, for several rules.

    python benchmarks/epoch_choice.py --data SHARED_DATA --tasks sst2 nsmc trec --labels 300 1000 --seeds 0 1 2 3 4

As `tl-keras train` does it: a tenth of the labelled rows is split off for validation, the rest is trained on. The rows kept apart are
those of the set's dev or validation file (of trec: training rows that were not drawn). Each run's figures, epoch by epoch, go to
benchmarks/results/epoch_choice.json; `--summary` prints what each rule would have kept.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from rows import add_row
from sklearn.metrics import accuracy_score, f1_score, log_loss

RESULTS = Path(__file__).parent / "results" / "epoch_choice.json"
APART = 2000


def read(data: Path, task: str, labels: int, seed: int):
    import tl_keras as tlk

    text = {"nsmc": "document"}.get(task, "text")
    whole = tlk.read_table(data / task / "train.csv", text)
    drawn = whole.sample(labels, seed)
    if task == "trec":
        apart = whole.take(np.setdiff1d(np.arange(len(whole)), np.flatnonzero(np.isin(whole.texts, drawn.texts))))
    else:
        file = {"sst2": "dev.csv", "nsmc": "validation.csv"}[task]
        apart = tlk.read_table(data / task / file, text, classes=whole.classes)
    train, valid = drawn.split(0.1, seed)
    return train, valid, apart.sample(APART, 0)


def figures(probabilities: np.ndarray, examples) -> dict:
    found, true = probabilities.argmax(-1), examples.labels
    return {
        "loss": float(log_loss(true, probabilities, labels=np.arange(probabilities.shape[1]))),
        "accuracy": float(accuracy_score(true, found)),
        "macro_f1": float(f1_score(true, found, average="macro", zero_division=0)),
    }


def run(options, task: str, labels: int, seed: int) -> dict:
    import tl_keras as tlk
    from tl_keras._keras import keras

    train, valid, apart = read(options.data, task, labels, seed)
    encoder = tlk.load_encoder(options.encoder)
    keras.utils.set_random_seed(seed)
    model = tlk.text_classifier(encoder, train.classes)
    epochs = max(3, min(int(np.ceil(80 / np.ceil(len(train) / 32))), 10))
    found = []

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            scores = [tlk.predict(self.model, part.texts, all_scores=True) for part in (valid, apart)]
            of = [frame[[f"score_{name}" for name in train.classes]].to_numpy("float64") for frame in scores]
            found.append({"valid": figures(of[0], valid), "apart": figures(of[1], apart)})

    model.fit(
        encoder.batches(train, training=True, seed=seed),
        epochs=options.epochs or epochs,
        verbose=0,
        callbacks=[Score()],
    )
    return {
        "task": task,
        "labels": labels,
        "seed": seed,
        "encoder": Path(options.encoder).name,
        "valid": len(valid),
        "epochs": found,
    }


def choose(epochs: list[dict], rule: str, size: int, figure: str = "accuracy") -> int:
    """The number of the epoch that a rule keeps."""
    loss = np.array([epoch["valid"]["loss"] for epoch in epochs])
    score = np.array([epoch["valid"][figure] for epoch in epochs])
    last = len(epochs) - 1
    if rule == "loss":
        return int(loss.argmin())
    if rule == "last":
        return last
    best = int(np.lexsort((loss, -score))[0])
    if rule == "figure":
        return best
    # Clear: further above the last epoch than chance would have it, by one standard error of a share of so many rows.
    error = np.sqrt(max(score[best] * (1 - score[best]), 1e-9) / size)
    return best if score[best] - score[last] > error else last


def summary() -> None:
    rows = json.loads(RESULTS.read_text("utf-8"))
    table = []
    for row in rows:
        for rule in ("loss", "figure", "clear", "last"):
            for figure in ("accuracy", "macro_f1"):
                kept = choose(row["epochs"], rule, row["valid"], figure)
                table.append(
                    {"task": row["task"], "labels": row["labels"], "rule": rule, "figure": figure,
                     "apart": 100 * row["epochs"][kept]["apart"][figure]}
                )  # fmt: skip
    frame = pd.DataFrame(table)
    shown = frame.pivot_table(index=["figure", "task", "labels"], columns="rule", values="apart", aggfunc="mean")
    print(shown.round(2).to_string())
    print(shown.groupby(level="figure").mean().round(2).to_string())
    print(frame.groupby(["task", "labels"]).size().rename("rows of this table").to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encoder", default="ko-en-mini")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "nsmc", "trec"], choices=["sst2", "nsmc", "trec"])
    parser.add_argument("--labels", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    if options.summary:
        return summary()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for seed in options.seeds:
        for task in options.tasks:
            for labels in options.labels:
                add_row(RESULTS, run(options, task, labels, seed), ("task", "labels", "seed", "encoder"))


if __name__ == "__main__":
    main()
