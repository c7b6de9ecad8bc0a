"""Few labels a class: heads on frozen vectors, contrastive fine-tuning, plain fine-tuning, TF-IDF; and no labels at all.

    python benchmarks/few_labels.py --data DATA_FOLDER --encoder ko-en-small --fine-tuned-draws 3
    python benchmarks/few_labels.py --data DATA_FOLDER --encoder .work/minilm --name MiniLM --fine-tuned-draws 2
    python benchmarks/few_labels.py --data DATA_FOLDER --entailment runs/nli          # rows of zero-shot by entailment
    python benchmarks/few_labels.py --summary                                         # tables, and what following `auto` costs

Draws come from the training files; scored is on the first rows of sst2/dev.csv and nsmc/validation.csv and on 500 rows of trec/train.csv that
are kept out of all draws (there is no other file), so that test files stay unseen. One row for each data set, number of labels, encoder and
method in results/few_labels.json, with the accuracy of every draw: a run that was cut off goes on where it stopped. Vectors are computed once
for all draws; where the encoder learns, one model serves all draws and gets its first weights back for each.

"+ unlabelled" is with 500 texts of the training file without their labels, "+ described" with the descriptions of the classes below, which
were written once and not changed after looking. They are those of zero-shot, too.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path

import numpy as np
from rows import add_row, read_rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

RESULTS = Path(__file__).parent / "results" / "few_labels.json"
KEY = ("data", "encoder", "per_class", "method")
SETS, PER_CLASS, UNLABELLED = ("sst2", "nsmc", "trec"), (8, 16, 64, 1), 500
HELP = ("", " + unlabelled", " + described", " + both")
ON_VECTORS = (*(f"{head}{more}" for head in ("nearest-mean", "logistic") for more in HELP), "logistic, not centred")
"""Methods on frozen vectors: a head, and what helps it."""
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


class Data:
    """A data set: what draws are taken from, what is scored on, and texts without labels."""

    def __init__(self, folder: Path, name: str, test_rows: int):
        import tl_keras as tlk

        if name == "trec":
            train, test = tlk.read_table(folder / "trec" / "train.csv").split(500 / 5365, seed=0)
        else:
            text, file = {"sst2": ("text", "dev.csv"), "nsmc": ("document", "validation.csv")}[name]
            train = tlk.read_table(folder / name / "train.csv", text)
            test = tlk.read_table(folder / name / file, text, classes=train.classes)
        self.name, self.train, self.test = name, train, test.take(np.arange(min(test_rows, len(test))))
        self.unlabelled = train.texts[np.random.default_rng(1000).permutation(len(train))[:UNLABELLED]].tolist()
        self.descriptions = list(DESCRIPTIONS[name].values())

    def draw(self, per_class: int, seed: int):
        """So many examples of each class."""
        from tl_keras.data.examples import sample_per_class

        return sample_per_class(self.train, per_class, seed)


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


def on_vectors(method: str, unit, labels, asked, right, unlabelled, described) -> float:
    """Accuracy of a head, as `few_shot_classifier` works it out, on vectors of length 1 that are there already."""
    from tl_keras.models import few_shot_heads as heads

    if method != "logistic, not centred":
        with_texts = method.endswith(("unlabelled", "both"))
        layer = heads.CentredVectors(stretched=with_texts)
        layer.build((None, unit.shape[1]))
        if with_texts:
            layer.set(*heads.centre_and_spread(np.concatenate([unit, unlabelled])))
        else:
            layer.set(heads.class_means(unit, labels).mean(0))
        unit, asked = (np.asarray(layer(vectors)) for vectors in (unit, asked))
    known = unit, labels
    if method.endswith(("described", "both")):
        known = heads.with_descriptions(unit, labels, layer.stretch(described - described.mean(0)))
    head = heads.nearest_mean_head if method.startswith("nearest") else heads.logistic_head
    kernel, bias = head(*known)
    return float(((asked @ kernel + bias).argmax(1) == right).mean())


class Contrastive:
    """Contrastive fine-tuning; the head with and without what helps it, on the vectors that it gives."""

    methods = tuple(f"contrastive{more}" for more in HELP)

    def __init__(self, handle: str, data: Data):
        import tl_keras as tlk
        from tl_keras.models.few_shot import few_shot_model

        self.data, self.encoder = data, tlk.load_encoder(handle)
        self.model = few_shot_model(self.encoder, data.train.classes, "contrastive")
        self.start = self.model.get_weights()

    def scores(self, train, seed: int) -> list[float]:
        """Of all methods."""
        from tl_keras.data.examples import Examples
        from tl_keras.models.few_shot import train_few_shot
        from tl_keras.models.few_shot_heads import unit_rows
        from tl_keras.models.text_vectors import TextVectors
        from tl_keras.models.transfer_model import TransferModel

        self.model.set_weights(self.start)
        train_few_shot(self.model, self.encoder, train, "contrastive", seed=seed)
        body = TransferModel(self.model.input, self.model.get_layer("centred").input, name="vectors")
        parts = [train.texts, self.data.test.texts, self.data.unlabelled, self.data.descriptions]
        texts = [text for part in parts for text in part]
        vectors = unit_rows(TextVectors(body, self.encoder).compute(Examples.from_lists(texts)))
        unit, asked, *others = np.split(vectors, np.cumsum([len(part) for part in parts])[:-1])
        right = self.data.test.labels
        return [on_vectors(f"logistic{more}", unit, train.labels, asked, right, *others) for more in HELP]


class FineTuned:
    """Plain fine-tuning of encoder and head, 15 epochs."""

    methods = ("fine-tune",)

    def __init__(self, handle: str, data: Data):
        import tl_keras as tlk
        from tl_keras.models.transfer_control import prepare

        self.data, encoder = data, tlk.load_encoder(handle)
        pooling = encoder.suggested.get("pooling", "mean")
        self.model = prepare(tlk.text_classifier(encoder, data.train.classes, pooling=pooling))
        optimizer = self.model.optimizer
        optimizer.build(self.model.trainable_variables)
        self.start = [
            (variable, np.array(variable.numpy())) for variable in [*self.model.weights, *optimizer.variables]
        ]

    def scores(self, train, seed: int) -> list[float]:
        """Of the one method."""
        import tl_keras as tlk

        for variable, value in self.start:
            variable.assign(value)
        self.model.fit(tlk.batches(self.model, train, training=True, seed=seed), epochs=15, verbose=0)
        return [float(tlk.evaluate(self.model, self.data.test).accuracy)]


def measure_cheap(data: Data, vectors: Vectors, name: str, per_class: int, draws: int) -> None:
    """Rows of TF-IDF and of heads on frozen vectors, those that are not there yet."""
    fixed = {"data": data.name, "encoder": name, "per_class": per_class, "test_rows": len(data.test)}
    if done({**fixed, "encoder": "none", "method": "tf-idf"}) < draws:
        scores = [words(data.draw(per_class, seed), data.test) for seed in range(draws)]
        put({**fixed, "encoder": "none", "method": "tf-idf"}, scores)
    for method in ON_VECTORS:
        if done({**fixed, "method": method}) >= draws:
            continue
        asked, right, scores = vectors(data.test.texts), data.test.labels, []
        others = vectors(data.unlabelled), vectors(data.descriptions)
        for seed in range(draws):
            train = data.draw(per_class, seed)
            scores.append(on_vectors(method, vectors(train.texts), train.labels, asked, right, *others))
        put({**fixed, "method": method}, scores)


def measure_similarity(data: Data, vectors: Vectors, name: str) -> None:
    """The row of zero-shot by similarity."""
    row = {"data": data.name, "encoder": name, "per_class": 0, "test_rows": len(data.test)}
    if not done({**row, "method": "zero-shot, similarity"}):
        scores = vectors(data.test.texts) @ vectors(data.descriptions).T
        right = float((scores.argmax(1) == data.test.labels).mean())
        put({**row, "method": "zero-shot, similarity", "chance": chance(data)}, [right])


def measure_entailment(data: Data, run: str, name: str) -> None:
    """The row of zero-shot by entailment, with the template of the run."""
    import tl_keras as tlk

    asked = tlk.zero_shot_classifier(run, DESCRIPTIONS[data.name])
    answers = asked.predict(data.test.texts.tolist())["label"]
    right = np.array([data.test.classes[label] for label in data.test.labels])
    row = {"data": data.name, "encoder": name, "per_class": 0, "test_rows": len(data.test)}
    put({**row, "method": "zero-shot, entailment", "chance": chance(data)}, [float((answers == right).mean())])


def chance(data: Data) -> float:
    """Percent of the most common class."""
    return round(100 * float(np.bincount(data.test.labels).max() / len(data.test)), 1)


def done(row: dict) -> int:
    """Draws that are measured of a row."""
    return len((_found(row) or {"accuracy": ()})["accuracy"])


def _found(row: dict) -> dict | None:
    names = (*KEY, "test_rows")
    return next((old for old in read_rows(RESULTS) if all(old.get(name) == row[name] for name in names)), None)


def put(row: dict, scores: list[float], seconds: float | None = None) -> None:
    """Add draws to a row, with mean and deviation."""
    old = (seconds is not None and _found(row)) or {"accuracy": [], "cpu_seconds": []}
    row = {**row, "accuracy": [*old["accuracy"], *(round(100 * score, 2) for score in scores)]}
    if seconds is not None:
        row["cpu_seconds"] = [*old["cpu_seconds"], round(seconds, 1)]
    row |= {"mean": round(float(np.mean(row["accuracy"])), 1), "deviation": round(float(np.std(row["accuracy"])), 1)}
    add_row(RESULTS, row, KEY)


def measure_trained(data: dict[str, Data], handle: str, name: str, per_class, draws: int) -> None:
    """Rows of methods whose encoder learns: a draw of each, then the next, so that a run cut off has as many of all."""
    learners = {}
    for seed in range(draws):
        for number in per_class:
            for each in data.values():
                for kind in (Contrastive, FineTuned):
                    row = {"data": each.name, "encoder": name, "per_class": number, "test_rows": len(each.test)}
                    if done({**row, "method": kind.methods[0]}) > seed:
                        continue
                    place = (each.name, kind)
                    learner = learners.get(place) or learners.setdefault(place, kind(handle, each))
                    begun = time.process_time()
                    scores = learner.scores(each.draw(number, seed), seed)
                    seconds = time.process_time() - begun
                    # The one that says whether a draw is done comes last.
                    for method, score in reversed(list(zip(kind.methods, scores, strict=True))):
                        put({**row, "method": method}, [score], seconds)


def chosen(classes: int, per_class: int) -> str:
    """What `auto` takes."""
    from tl_keras.data.examples import Examples
    from tl_keras.models.few_shot import choose_method

    return choose_method(Examples.from_lists(["a"] * classes * per_class, list(range(classes)) * per_class))


def summary() -> None:
    """Tables for docs/few_labels.md; and for each cell how far `auto` is from the best, on the draws that all methods have."""
    rows = read_rows(RESULTS)
    behind, ahead = {}, {}
    for encoder in sorted({row["encoder"] for row in rows} - {"none"}):
        for data in SETS:
            print(f"\n{encoder}, {data}")
            for per_class in (0, 1, 8, 16, 64):
                cell = {
                    row["method"]: row["accuracy"]
                    for row in rows
                    if (row["data"], row["per_class"]) == (data, per_class) and row["encoder"] in (encoder, "none")
                }
                said = [f"{m} {np.mean(a):.1f} ± {np.std(a):.1f} ({len(a)})" for m, a in cell.items()]
                print(f"  {per_class:>2}:", "; ".join(said))
                trained = [len(cell[m]) for m in ("contrastive", "fine-tune") if m in cell]
                if per_class and trained:
                    draws = min(trained)
                    means = {m: np.mean(a[:draws]) for m, a in cell.items() if "+" not in m}
                    taken = means[chosen(6 if data == "trec" else 2, per_class)]
                    behind[encoder, data, per_class] = max(means.values()) - taken
                    if "fine-tune" in means:
                        ahead[encoder, data, per_class] = taken - means["fine-tune"]
    for title, found in (("auto behind the best", behind), ("auto ahead of plain fine-tuning", ahead)):
        print(f"\n{title}: {np.mean(list(found.values())):.1f} points on average")
        for cell, points in found.items():
            print(" ", *cell, f"{points:.1f}")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encoder", default="ko-en-small", help="handle")
    parser.add_argument("--name", help="of the encoder, in the results")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--per-class", nargs="+", type=int, default=PER_CLASS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--fine-tuned-draws", type=int, default=0, help="draws of the methods that train the encoder")
    parser.add_argument("--test-rows", type=int, default=500)
    parser.add_argument("--entailment", help="run of zero-shot-classification: measure it alone")
    parser.add_argument("--summary", action="store_true", help="measure nothing, print tables")
    options = parser.parse_args()
    if options.summary:
        return summary()
    name = options.name or Path(options.entailment or options.encoder).name
    read = functools.partial(Data, options.data, test_rows=options.test_rows)
    data = {each: read(name=each) for each in options.sets}
    if options.entailment:
        for each in data.values():
            measure_entailment(each, options.entailment, name)
        return None
    vectors = Vectors(options.encoder)
    for each in data.values():
        measure_similarity(each, vectors, name)
        for per_class in options.per_class:
            measure_cheap(each, vectors, name, per_class, options.draws)
    return measure_trained(data, options.encoder, name, options.per_class, options.fine_tuned_draws)


if __name__ == "__main__":
    main()
