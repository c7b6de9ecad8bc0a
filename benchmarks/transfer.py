"""What a pre-trained encoder is worth: from scratch, frozen, fine-tuned and TF-IDF, by number of labels.

    python benchmarks/transfer.py --name nsmc --train NSMC/train.csv --test NSMC/test.csv --text document --encoder ko-en-small
    python benchmarks/transfer.py --name sst2 --train SST2/train.csv --test SST2/dev.csv --labels 1000 --words
    python benchmarks/transfer.py --table

Each seed draws its own training subset, balanced as the file is; all ways of one seed get the same subset, and nothing is tuned on
the test file. The ways:

- `tf-idf`: logistic regression on TF-IDF of characters 1 to 4 (`--words`: words 1 to 2), scikit-learn;
- `freeze`: logistic regression on the frozen encoder's mean-pooled outputs;
- `fine-tune`: `text_classifier(..., "fine-tune", pooling="mean")`, with the rate that the encoder's makers suggest and the epochs and else
  the rate in `FINE_TUNE`, or with `--epochs` and `--learning-rate`;
- `slow-embeddings`: the same, but the WordPiece tokens' vectors learn at a tenth of the rate, as `--lr-multiplier embeddings=0.1` has it;
- `scratch`: as `fine-tune`, the encoder's weights drawn anew before training.

Raw results: benchmarks/results/transfer.json, one row for each seed; a run whose row is there is skipped (`--again` repeats it), so
that several processes may share the work.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from rows import add_row, has_row, read_rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME, keras

RESULTS = Path(__file__).parent / "results" / "transfer.json"
WAYS = ("tf-idf", "scratch", "freeze", "fine-tune", "slow-embeddings")
# Labels at most -> epochs and peak rate. Few labels need many rounds; many labels are seen often enough.
FINE_TUNE = {100: (15, 5e-4), 1000: (6, 5e-4), 5000: (3, 5e-4), 10**9: (2, 5e-4)}


def tf_idf(train, test, words: bool) -> float:
    features = {"ngram_range": (1, 2)} if words else {"analyzer": "char_wb", "ngram_range": (1, 4)}
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, **features), LogisticRegression(C=10, max_iter=2000))
    return float(model.fit(train.texts, train.labels).score(test.texts, test.labels))


def mean_vectors(encoder, examples) -> np.ndarray:
    """Mean of the last block's outputs over the tokens of each text: float32 `[n, width]`."""
    return tlk.encode(tlk.sentence_encoder(encoder, "freeze", pooling="mean", normalize=False), examples.texts.tolist())


def freeze(train_vectors, train, test_vectors, test) -> float:
    model = LogisticRegression(max_iter=5000).fit(train_vectors, train.labels)
    return float(model.score(test_vectors, test.labels))


def draw_weights_anew(model, seed: int) -> None:
    """Give the encoder the weights that pre-training starts from: normal with deviation 0.02, biases 0, scales 1."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, tlk.KerasLayer):
            for variable in layer.trainable_weights:
                name = getattr(variable, "path", variable.name)
                shape = tuple(variable.shape)
                if "gamma" in name or "scale" in name:
                    variable.assign(np.ones(shape, "float32"))
                elif len(shape) < 2 or "bias" in name or "beta" in name:
                    variable.assign(np.zeros(shape, "float32"))
                else:
                    variable.assign(random.normal(0, 0.02, shape).astype("float32"))


def fine_tune_settings(encoder, labels: int, options) -> dict:
    """Epochs and peak rate of fine-tuning on so many labels."""
    epochs, rate = next(setting for most, setting in FINE_TUNE.items() if labels <= most)
    rate = options.learning_rate or encoder.suggested.get("learning_rate", rate)
    return {"epochs": options.epochs or epochs, "learning_rate": rate}


def fine_tune(encoder, train, test, seed: int, way: str, epochs: int, learning_rate: float) -> float:
    keras.utils.set_random_seed(seed)
    transfer = tlk.Transfer("fine-tune", lr_multipliers={"embeddings": 0.1} if way == "slow-embeddings" else {})
    model = tlk.text_classifier(encoder, train.classes, transfer, pooling="mean", learning_rate=learning_rate)
    if way == "scratch":
        draw_weights_anew(model, seed)
    model.fit(encoder.batches(train, training=True, seed=seed), epochs=epochs, verbose=0)
    return tlk.evaluate(model, test).accuracy


def table() -> str:
    """Mean and spread over seeds of everything measured, in Markdown."""
    lines, rows = [], read_rows(RESULTS)
    for data in dict.fromkeys(row["data"] for row in rows):
        labels = sorted({row["labels"] for row in rows if row["data"] == data})
        lines += [
            f"| {data}, labels | " + " | ".join(f"{n:,}" for n in labels) + " |",
            "|---" * (len(labels) + 1) + "|",
        ]
        encoders = sorted({row["encoder"] for row in rows if row["data"] == data and row["encoder"]})
        for way, encoder in [("tf-idf", None), *((way, e) for e in encoders for way in WAYS[1:])]:
            cells = []
            for n in labels:
                run = (data, way, encoder, n)
                found = [r["accuracy"] for r in rows if (r["data"], r["way"], r["encoder"], r["labels"]) == run]
                spread = f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else ""
                cells.append(f"{statistics.mean(found):.1f}{spread} ({len(found)})" if found else "")
            if any(cells):
                lines.append(f"| {' '.join(filter(None, [encoder, way]))} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what has been measured, and measure nothing")
    parser.add_argument("--name", help="of the data, for the table")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--test-rows", type=int, help="score so many rows of the test file, the same for all seeds")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--words", action="store_true", help="TF-IDF of words, not of characters")
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1000, 5000, 20000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--epochs", type=int, help="of fine-tuning; default: by the number of labels")
    parser.add_argument("--learning-rate", type=float, help="of fine-tuning; default: what suits the encoder")
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    options = parser.parse_args()
    if options.table:
        print(table())
        return

    train, test = (tlk.read_table(path, options.text, options.label) for path in (options.train, options.test))
    if options.test_rows and options.test_rows < len(test):
        test = test.sample(options.test_rows, seed=0)
    encoder = tlk.load_encoder(options.encoder, seq_length=128)
    vectors = {}
    for labels in options.labels:
        for seed in options.seeds:
            part = train.sample(labels, seed) if labels < len(train) else train
            for way in options.ways:
                run = {
                    "data": options.name,
                    "way": way,
                    "encoder": None if way == "tf-idf" else Path(options.encoder).name,
                    "labels": labels,
                    "seed": seed,
                    "keras": None if way in ("tf-idf", "freeze") else KERAS_NAME,
                }
                if has_row(RESULTS, run) and not options.again:
                    continue
                started = time.perf_counter()
                learned = {}
                if way == "tf-idf":
                    accuracy = tf_idf(part, test, options.words)
                elif way == "freeze":
                    if "test" not in vectors:
                        vectors["test"] = mean_vectors(encoder, test)
                    accuracy = freeze(mean_vectors(encoder, part), part, vectors["test"], test)
                else:
                    learned = fine_tune_settings(encoder, len(part), options)
                    accuracy = fine_tune(encoder, part, test, seed, way, **learned)
                seconds = round(time.perf_counter() - started, 1)
                facts = {**learned, "tested_on": len(test)}
                add_row(
                    RESULTS, {**run, **facts, "accuracy": round(100 * accuracy, 2), "seconds": seconds}, key=tuple(run)
                )
    print(table())


if __name__ == "__main__":
    main()
