"""Which epoch's weights should a run keep? Each epoch scored on rows kept apart, and what several rules would have kept.

    python benchmarks/epoch_choice.py --data SHARED_DATA --tasks sst2 nsmc --labels 1000 --seeds 0 1

A classifier is trained as `tl-keras train` does it by default, and after each epoch asked about the rows of the set's dev or validation file.
Then, 500 times over, `--valid` of these rows are drawn as if they were the run's validation rows: a rule chooses an epoch by them, and its
accuracy on all the other rows is noted, so that a rule is judged by many draws for each training run. The rules: `loss`, the lowest loss;
`figure`, the highest accuracy, ties by loss; `not clearly worse`, the last epoch within a standard error of the highest accuracy, as runs do
it; `last`. Raw results go to benchmarks/results/epoch_choice.json; `--summary` prints their means.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from rows import add_row, read_rows

RESULTS = Path(__file__).parent / "results" / "epoch_choice.json"
APART, DRAWS = 1000, 500
FILES = {"sst2": ("dev.csv", "text"), "nsmc": ("validation.csv", "document")}


def run(options, task: str, labels: int, seed: int) -> dict:
    import tl_keras as tlk
    from tl_keras._keras import KERAS_NAME, keras
    from tl_keras.tasks.run import default_epochs

    file, text = FILES[task]
    train = tlk.read_table(options.data / task / "train.csv", text).sample(labels, seed)
    apart = tlk.read_table(options.data / task / file, text, classes=train.classes).sample(APART, 0).sorted_by_length()
    encoder = tlk.load_encoder(options.encoder)
    keras.utils.set_random_seed(seed)
    plan = tlk.Transfer("fine-tune", lr_multipliers={} if options.head is None else {"head": options.head})
    model = tlk.text_classifier(encoder, train.classes, plan)
    found = []

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append(self.model.predict(encoder.batches(apart.texts.tolist(), batch_size=64), verbose=0))

    epochs = options.epochs or default_epochs(len(train), 32, "fine-tune")
    batches = encoder.batches(train, training=True, seed=seed)
    model.fit(batches, epochs=epochs, verbose=0, callbacks=[Score()])
    probabilities = np.array(found)
    accuracy = (probabilities.argmax(-1) == apart.labels).mean(axis=1)
    return {
        "task": task,
        "labels": labels,
        "seed": seed,
        "encoder": Path(options.encoder).name,
        "head": options.head,
        "epochs": epochs,
        "keras": KERAS_NAME,
        "apart": len(apart),
        "accuracy": [round(100 * float(a), 2) for a in accuracy],
        "kept": kept(probabilities, apart.labels, options.valid),
    }


def kept(probabilities: np.ndarray, labels: np.ndarray, size: int) -> dict[str, float]:
    """Mean accuracy of the epoch that each rule keeps, on the rows that it has not seen.

    Args:
        probabilities: `[epochs, n, classes]`.
        labels: `[n]`.
        size: of the draws to choose by.
    """
    random = np.random.default_rng(0)
    right = probabilities.argmax(-1) == labels
    loss = -np.log(np.clip(probabilities[:, np.arange(len(labels)), labels], 1e-7, 1.0))
    sums = dict.fromkeys(("loss", "figure", "not clearly worse", "last"), 0.0)
    for _ in range(DRAWS):
        order = random.permutation(len(labels))
        valid, others = order[:size], order[size:]
        score, losses, true = right[:, valid].mean(1), loss[:, valid].mean(1), right[:, others].mean(1)
        error = max(np.sqrt(score.max() * (1 - score.max()) / size), 1 / size) + 1e-9
        sums["loss"] += true[losses.argmin()]
        sums["figure"] += true[np.lexsort((losses, -score))[0]]
        sums["not clearly worse"] += true[np.flatnonzero(score >= score.max() - error)[-1]]
        sums["last"] += true[-1]
    return {rule: round(100 * float(total) / DRAWS, 2) for rule, total in sums.items()}


def summary() -> None:
    names = ("task", "labels", "head", "epochs")
    rows = [{**{name: str(row[name] or "default") for name in names}, **row["kept"]} for row in read_rows(RESULTS)]
    frame = pd.DataFrame(rows)
    print(frame.groupby(["task", "labels", "head", "epochs"]).mean().round(2).to_string())
    print(frame[[*read_rows(RESULTS)[0]["kept"]]].mean().round(2).to_string(), f"\n{len(frame)} runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "nsmc"], choices=[*FILES])
    parser.add_argument("--labels", type=int, nargs="+", default=[1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="default: as a run chooses them")
    parser.add_argument("--head", type=float, help="learning-rate multiplier of the head; default: as a run chooses it")
    parser.add_argument("--valid", type=int, default=100, help="rows that a rule chooses by")
    parser.add_argument("--summary", action="store_true", help="print what has been measured, and measure nothing")
    options = parser.parse_args()
    if options.summary:
        summary()
        return
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for seed in options.seeds:
        for task in options.tasks:
            for labels in options.labels:
                row = run(options, task, labels, seed)
                add_row(RESULTS, row, ("task", "labels", "seed", "encoder", "head", "epochs", "keras"))


if __name__ == "__main__":
    main()
