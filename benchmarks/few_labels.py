"""Few labels a class: nearest mean, centred logistic regression, contrastive fine-tuning, plain fine-tuning, TF-IDF; and no labels at all.

    python benchmarks/few_labels.py --data DATA_FOLDER --encoder ko-en-small --fine-tuned-draws 1

Draws come from the training files; scored is on sst2/dev.csv, on the first rows of nsmc/validation.csv and on 500 rows of trec/train.csv
that are kept out of all draws (there is no other file), so that test files stay unseen. One row for each data set, number of labels,
encoder and method in results/few_labels.json, with the accuracy of every draw. Vectors are computed once for all draws.

Zero-shot: the softmax of cosines with the descriptions below, which were written once and not changed after looking.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rows import add_row
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

RESULTS = Path(__file__).parent / "results" / "few_labels.json"
PER_CLASS = (1, 8, 16, 64)
DESCRIPTIONS = {
    "sst2": {"0": "a bad film, a negative review", "1": "a good film, a positive review"},
    "nsmc": {"0": "나쁜 영화, 부정적인 평", "1": "좋은 영화, 긍정적인 평"},
    "trec": {
        "0": "a question about a description, a definition, a manner or a reason",
        "1": "a question about a thing, an animal, a product or a creative work",
        "2": "a question about an abbreviation and what it stands for",
        "3": "a question about a person or a group of people",
        "4": "a question about a place, a city or a country",
        "5": "a question about a number, a date, a distance or an amount",
    },
}


def read(folder: Path, name: str, test_rows: int):
    """Training and test examples; classes are those of the file's label column."""
    import tl_keras as tlk

    if name == "trec":
        return tlk.read_table(folder / "trec" / "train.csv").split(500 / 5365, seed=0)
    text, test = {"sst2": ("text", "dev.csv"), "nsmc": ("document", "validation.csv")}[name]
    train = tlk.read_table(folder / name / "train.csv", text)
    return train, tlk.read_table(folder / name / test, text, classes=train.classes).take(np.arange(test_rows)[:872])


class Vectors:
    """Vectors of texts, each computed once."""

    def __init__(self, handle: str):
        self.handle, self.known = handle, {}

    def __call__(self, texts) -> np.ndarray:
        """Vectors of length 1, float32 `[n, width]`."""
        import tl_keras as tlk

        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, tlk.encode(self.handle, new, normalize=True), strict=True))
        return np.stack([self.known[text] for text in texts])


def words(train, test) -> float:
    """TF-IDF and logistic regression."""
    from tl_keras.advice.advise import joins_words

    kind = {"analyzer": "char", "ngram_range": (1, 4)} if joins_words(train.texts) else {"ngram_range": (1, 2)}
    vectorizer = TfidfVectorizer(sublinear_tf=True, **kind)
    model = LogisticRegression(C=10.0, max_iter=1000).fit(vectorizer.fit_transform(train.texts), train.labels)
    return float((model.predict(vectorizer.transform(test.texts)) == test.labels).mean())


def on_vectors(method: str, vectors: Vectors, train, test) -> float:
    """A head of `tl_keras.models.few_shot`, as `few_shot_classifier` works it out, on vectors that are there already."""
    from tl_keras.models.few_shot import logistic_head, nearest_mean_head

    unit, asked = vectors(train.texts), vectors(test.texts)
    if method != "logistic, not centred":
        centre = np.stack([unit[train.labels == c].mean(0) for c in range(len(train.classes))]).mean(0)
        unit, asked = (
            v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (unit - centre, asked - centre)
        )
    head = nearest_mean_head if method == "nearest-mean" else logistic_head
    kernel, bias = head(unit, train.labels)
    return float(((asked @ kernel + bias).argmax(1) == test.labels).mean())


def fine_tuned(method: str, handle: str, train, test, seed: int) -> tuple[float, float]:
    """Accuracy and seconds of processor time of a model whose encoder learns."""
    import tl_keras as tlk

    begun = time.process_time()
    encoder = tlk.load_encoder(handle)
    if method == "contrastive":
        model = tlk.few_shot_classifier(encoder, train, "contrastive", seed=seed)
    else:
        pooling = encoder.suggested.get("pooling", "mean")
        model = tlk.text_classifier(encoder, train.classes, pooling=pooling)
        model.fit(tlk.batches(model, train, training=True, seed=seed), epochs=15, verbose=0)
    seconds = time.process_time() - begun
    return float(tlk.evaluate(model, test).accuracy), seconds


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", default="ko-en-small", help="handle")
    parser.add_argument("--name", help="of the encoder, in the results")
    parser.add_argument("--sets", nargs="+", default=["sst2", "trec", "nsmc"])
    parser.add_argument("--per-class", nargs="+", type=int, default=PER_CLASS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--fine-tuned-draws", type=int, default=0, help="draws of the methods that train the encoder")
    parser.add_argument("--test-rows", type=int, default=872)
    options = parser.parse_args()
    from tl_keras.data.examples import sample_per_class

    name, vectors = options.name or options.encoder, Vectors(options.encoder)
    for data in options.sets:
        train, test = read(options.data, data, options.test_rows)
        fixed = {"data": data, "encoder": name, "test_rows": len(test)}
        descriptions = vectors(list(DESCRIPTIONS[data].values()))
        zero = float(((vectors(test.texts) @ descriptions.T).argmax(1) == test.labels).mean())
        chance = float(np.bincount(test.labels).max() / len(test))
        put(
            {
                **fixed,
                "per_class": 0,
                "method": "zero-shot, similarity",
                "accuracy": [zero],
                "most_common_class": chance,
            }
        )
        for per_class in options.per_class:
            draws = [sample_per_class(train, per_class, seed) for seed in range(options.draws)]
            put(
                {
                    **fixed,
                    "encoder": "none",
                    "per_class": per_class,
                    "method": "tf-idf",
                    "accuracy": [words(draw, test) for draw in draws],
                }
            )
            for method in ("nearest-mean", "logistic", "logistic, not centred"):
                scores = [on_vectors(method, vectors, draw, test) for draw in draws]
                put({**fixed, "per_class": per_class, "method": method, "accuracy": scores})
            for method in ("contrastive", "fine-tune"):
                found = [
                    fine_tuned(method, options.encoder, draw, test, seed)
                    for seed, draw in enumerate(draws[: options.fine_tuned_draws])
                ]
                if found:
                    accuracy, seconds = map(list, zip(*found, strict=True))
                    put(
                        {
                            **fixed,
                            "per_class": per_class,
                            "method": method,
                            "accuracy": accuracy,
                            "cpu_seconds": seconds,
                        }
                    )


def put(row: dict) -> None:
    """Keep a row, with its mean and deviation."""
    row["accuracy"] = [round(100 * score, 2) for score in row["accuracy"]]
    if "cpu_seconds" in row:
        row["cpu_seconds"] = [round(second, 1) for second in row["cpu_seconds"]]
    row |= {"mean": round(float(np.mean(row["accuracy"])), 1), "deviation": round(float(np.std(row["accuracy"])), 1)}
    add_row(RESULTS, row, ("data", "encoder", "per_class", "method"))


if __name__ == "__main__":
    main()
