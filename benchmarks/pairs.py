"""Pairs of Korean texts: inference (xnli_ko), same question or not (question_pair), similarity (korsts).

    python benchmarks/pairs.py --data SHARED_DATA --encoder ENCODER_PAIR --tasks korsts --methods tf-idf bi-encoder cross-encoder

`SHARED_DATA` holds the folders xnli_ko, question_pair and korsts. Training files are trained on, development files scored;
xnli_ko has one file, of which a fifth (seed 0) is scored. No setting or epoch is tuned on what is
scored; but that the lexical part counts Hangul by characters and not by tokens or n-grams was decided with korsts/dev.tsv in view too.

- korsts (Spearman): `tf-idf` is the cosine of character 1-3-grams, with no training; `untrained` the encoder's mean vectors, and
  `whitened` the same without their common direction; `bi-encoder` is trained with `--loss`, from whitened vectors with `--whiten`;
  `lexical` is the same with a part of shared words and characters, whose weight is chosen on a tenth of the training pairs that are
  kept out of training; `cross-encoder` reads both texts together.
- question_pair and xnli_ko (accuracy): `constant` answers the commonest class; `tf-idf` is a logistic regression (on the cosine and
  on character n-grams of both texts); `classifier` is fine-tuned on the pair. In question_pair, `is_duplicate` 0 means the same.

Raw results go to benchmarks/results/pairs.json.
"""

from __future__ import annotations

import argparse
import csv
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rows import add_row
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME, keras
from tl_keras.data.pairs import read_scored
from tl_keras.evaluation.similarity import similarity_report
from tl_keras.models.builders import text_regressor
from tl_keras.models.pair_builders import bi_encoder, sentence_encoder

RESULTS = Path(__file__).parent / "results" / "pairs.json"
METHODS = {
    "korsts": ["tf-idf", "untrained", "whitened", "bi-encoder", "lexical", "cross-encoder"],
    "question_pair": ["constant", "tf-idf", "classifier"],
    "xnli_ko": ["constant", "tf-idf", "classifier"],
}


def vectors(train, dev) -> tuple:
    """TF-IDF of character 1-3-grams: both texts of the training pairs, and of those to score."""
    model = TfidfVectorizer(analyzer="char", ngram_range=(1, 3)).fit([*train.texts, *train.text_pairs])
    return tuple((model.transform(part.texts), model.transform(part.text_pairs)) for part in (train, dev))


def cosines(pair) -> np.ndarray:
    return np.asarray(pair[0].multiply(pair[1]).sum(1)).ravel()


def similarity(method: str, train, dev, options) -> dict:
    if method == "tf-idf":
        return similarity_report(dev.labels, cosines(vectors(train, dev)[1]), same_unit=False).to_dict()
    encoder = tlk.load_encoder(options.encoder, options.seq_length)
    if method == "cross-encoder":
        model = text_regressor(encoder, train.score_range, pooling=options.pooling, learning_rate=options.learning_rate)
        batches = encoder.batches(train, training=True, batch_size=options.batch_size, seed=options.seed)
        model.fit(batches, epochs=options.epochs, verbose=2)
        return tlk.evaluate(model, dev).to_dict()
    held = None
    if method == "lexical":
        train, held = train.split(0.1, seed=options.seed)
    texts = [*train.texts, *train.text_pairs]
    whiten = options.whiten if method in {"bi-encoder", "lexical"} else method == "whitened"
    parts = {"lexical_weight": 0.5, "lexical_texts": texts} if held else {}
    model = sentence_encoder(encoder, whiten_texts=texts if whiten else (), **parts)
    if method not in {"untrained", "whitened"}:
        towers = bi_encoder(model, options.loss, score_range=train.score_range, learning_rate=options.learning_rate)
        batches = encoder.pair_batches(train, training=True, batch_size=options.batch_size, seed=options.seed)
        towers.fit(batches, epochs=options.epochs, verbose=2)
    chosen = {"lexical_weight": tlk.choose_lexical_weight(model, held)} if held else {}
    return {**chosen, **tlk.evaluate(model, dev).to_dict()}


def classes(method: str, train, dev, options) -> dict:
    if method == "constant":
        common = np.bincount(train.labels).argmax()
        return {"examples": len(dev), "accuracy": float(np.mean(dev.labels == common))}
    if method == "tf-idf":
        parts = [
            sparse.hstack([first, second, sparse.csr_matrix(cosines((first, second))[:, None])]).tocsr()
            for first, second in vectors(train, dev)
        ]
        model = LogisticRegression(C=10, max_iter=2000).fit(parts[0], train.labels)
        return {"examples": len(dev), "accuracy": float(model.score(parts[1], dev.labels))}
    encoder = tlk.load_encoder(options.encoder, options.seq_length)
    model = tlk.text_classifier(encoder, train.classes, pooling=options.pooling, learning_rate=options.learning_rate)
    batches = encoder.batches(train, training=True, batch_size=options.batch_size, seed=options.seed)
    model.fit(batches, epochs=options.epochs, verbose=2)
    report = tlk.evaluate(model, dev)
    return {"examples": report.examples, "accuracy": report.accuracy, "macro_f1": report.macro_f1}


def read(task: str, folder: Path):
    if task == "korsts":
        columns = {"text": "sentence1", "text_pair": "sentence2", "score": "score", "score_range": (0, 5)}
        return read_scored(folder / "train.tsv", **columns), read_scored(folder / "dev.tsv", **columns)
    if task == "question_pair":
        tables = []
        for name in ("train.csv", "dev.csv"):
            table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
            # 0 is "the same question" in this file, whatever its name says.
            table["label"] = table.is_duplicate.map({"0": "same", "1": "different"})
            tables.append(tlk.read_table(table, "question1", "label", "question2"))
        return tables
    table = pd.read_csv(folder / "dev.tsv", sep="\t", quoting=csv.QUOTE_NONE, dtype=str, keep_default_na=False)
    return tlk.read_table(table, "sentence1", "gold_label", "sentence2").split(0.2, seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--tasks", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--methods", nargs="+", help="default: all of a task")
    parser.add_argument("--seq-length", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--pooling", default="mean", help="of cross-encoder and classifier")
    parser.add_argument("--loss", choices=["cosine", "ranking"], default="cosine", help="of the bi-encoders of korsts")
    parser.add_argument("--whiten", action="store_true", help="bi-encoders begin with whitened vectors")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--limit", type=int, help="so many training pairs only, to try the script")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    for task in options.tasks:
        train, dev = read(task, options.data / task)
        for seed in options.seeds:
            part = train if options.limit is None else train.sample(options.limit, seed)
            for method in METHODS[task]:
                if options.methods and method not in options.methods:
                    continue
                options.seed = seed
                keras.utils.set_random_seed(seed)
                started = time.perf_counter()
                scores = (similarity if task == "korsts" else classes)(method, part, dev, options)
                names = ("epochs", "batch_size", "learning_rate", "seq_length", "pooling")
                trained = {name: getattr(options, name) for name in names}
                if method in {"bi-encoder", "lexical"}:
                    trained.update(pooling="mean", loss=options.loss, whiten=options.whiten)
                row = {
                    "task": task,
                    "method": method,
                    "encoder": None if method in {"tf-idf", "constant"} else Path(options.encoder).name,
                    "train_pairs": len(part),
                    **({} if method in {"tf-idf", "constant", "untrained", "whitened"} else {"seed": seed, **trained}),
                    **{k: round(v, 4) if isinstance(v, float) else v for k, v in scores.items()},
                    "seconds": round(time.perf_counter() - started, 1),
                    "keras": KERAS_NAME,
                }
                same = ("task", "method", "encoder", "train_pairs", "seed", *names, "loss", "whiten", "keras")
                add_row(options.results, row, same)


if __name__ == "__main__":
    main()
