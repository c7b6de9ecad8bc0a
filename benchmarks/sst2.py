"""SST-2 with few and with all labels: TF-IDF, frozen encoder, fine-tuned encoder.

    python benchmarks/sst2.py --data SST2_FOLDER --encoder ENCODER_PAIR

`SST2_FOLDER` holds train.csv and dev.csv with the columns text and label (0 negative, 1 positive). Everything is trained on
train.csv (or a sample of it) and scored on dev.csv; nothing is tuned on dev.csv. Raw results go to benchmarks/results/sst2.json.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from rows import add_row
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME, keras

RESULTS = Path(__file__).parent / "results" / "sst2.json"
# The settings of the PyTorch reference: more epochs at a higher rate where there are few labels.
FINE_TUNE = {1000: (5, 1e-4), 6908: (3, 5e-5)}
FREEZE_EPOCHS = {1000: 20, 6908: 8}


def tf_idf(train, dev) -> float:
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    model.fit(train.texts, train.labels)
    return float(model.score(dev.texts, dev.labels))


def transfer(encoder, train, dev, mode: str, seed: int) -> float:
    keras.utils.set_random_seed(seed)
    if mode == "fine-tune":
        epochs, rate = FINE_TUNE[len(train)]
    else:
        epochs, rate = FREEZE_EPOCHS[len(train)], None
    model = tlk.text_classifier(encoder, train.classes, mode, pooling="mean", learning_rate=rate)
    model.fit(encoder.batches(train, training=True, seed=seed), epochs=epochs, verbose=2)
    return tlk.evaluate(model, dev).accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[1000, 6908])
    parser.add_argument("--modes", nargs="+", default=["tf-idf", "freeze", "fine-tune"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    train, dev = tlk.read_table(options.data / "train.csv"), tlk.read_table(options.data / "dev.csv")
    encoder = tlk.load_encoder(options.encoder)
    for labels in options.labels:
        for seed in options.seeds:
            part = train.sample(labels, seed)
            for mode in options.modes:
                started = time.perf_counter()
                accuracy = tf_idf(part, dev) if mode == "tf-idf" else transfer(encoder, part, dev, mode, seed)
                row = {
                    "encoder": None if mode == "tf-idf" else Path(options.encoder).name,
                    "mode": mode,
                    "labels": labels,
                    "seed": seed,
                    "accuracy": round(100 * accuracy, 2),
                    "seconds": round(time.perf_counter() - started, 1),
                    "keras": KERAS_NAME,
                }
                add_row(RESULTS, row, ("encoder", "mode", "labels", "seed", "keras"))


if __name__ == "__main__":
    main()
