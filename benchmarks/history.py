"""From random embeddings to word vectors, ELMo and BERT: the same data, the same seeds, one table.

    tl-keras pretrain word-vectors --corpus NSMC/unlabelled.txt --out VECTORS/ko.vec --width 100
    tl-keras pretrain bilm --corpus NSMC/unlabelled.txt --out BILM/ko
    python benchmarks/history.py --data DATA_FOLDER --vectors VECTORS/ko.vec --elmo BILM/ko      # what is not in the results yet
    python benchmarks/history.py --data DATA_FOLDER --sets nsmc-1000 --ways random init --seeds 0
    python benchmarks/history.py --table                                                         # Markdown, for the README

DATA_FOLDER holds `nsmc/train.csv`, `nsmc/test.csv`, `trec/train.csv` and `klue_ner/train.conll`. `trec` is English: its vectors and
biLM are named by `--vectors-en` and `--elmo-en`, and its rows are left out where these are not given.

Each seed draws its own training texts, classes in proportion; all ways of one seed get the same. Nothing is tuned on what is tested on;
epochs are fixed, and the last weights count. The ways:

- `random`: embeddings drawn at random, learned with all the rest;
- `init`, `freeze`, `slow`: pre-trained word vectors as initial values, frozen, and learned at a tenth of the rate;
- `elmo-input`, `elmo-output`: as `init`, with the frozen biLM's vectors joined before or behind the LSTM;
- `bert-freeze`, `bert-fine-tune`: the encoder of `--encoder`, a linear head on it, its weights frozen (its vectors are computed once) or
  learned.

All but the last two have the same network behind the vectors: an LSTM of 128 units in both directions, and the maximum over the words, or
for tagging a softmax for each word. Words that the training texts have once only are unknown to `random`, and keep their vectors in the others.

Accuracy is in percent (klue_ner: F1 of whole entities); seconds are those of training alone, the tracing of the first step left out;
`parameters` are those that learn. Raw results, a row for each seed: benchmarks/results/history.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rows import add_row, has_row, read_rows

RESULTS = Path(__file__).parent / "results" / "history.json"
WAYS = ("random", "init", "freeze", "slow", "elmo-input", "elmo-output", "bert-freeze", "bert-fine-tune")
KEY = ("data", "way", "seed", "vectors", "encoder")
SEEDS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set of the table.

    Attributes:
        train: file below the data folder.
        test: the same, or how many texts of the training file are held out, the same for all seeds.
        labels: training texts; None for all there are.
        epochs: of the networks on vectors.
        bert_epochs: of fine-tuning; a frozen encoder's head gets three times as many.
        language: of the texts.
        text: column.
        label: column; None for a file of tags.
    """

    train: str
    test: str | int
    labels: int | None
    epochs: int
    bert_epochs: int
    language: str = "ko"
    text: str = "text"
    label: str | None = "label"


DATA = {
    "nsmc-1000": Data("nsmc/train.csv", "nsmc/test.csv", 1000, 12, 6, text="document"),
    "nsmc-20000": Data("nsmc/train.csv", "nsmc/test.csv", 20000, 4, 2, text="document"),
    "trec": Data("trec/train.csv", 865, None, 8, 4, "en", label="label_name"),
    "klue_ner": Data("klue_ner/train.conll", 400, None, 10, 5, label=None),
}


def read(folder: Path, data: Data):
    """Training and test examples; no text of the test is in the training part."""
    import tl_keras as tlk

    def load(file: str):
        path = folder / file
        return tlk.read_tagged(path) if data.label is None else tlk.read_table(path, data.text, data.label)

    train = load(data.train)
    if isinstance(data.test, int):
        train, test = train.split(data.test / len(train), seed=0)
    else:
        test = load(data.test)
    known = set(test.texts)
    return train.take(np.array([row for row, text in enumerate(train.texts) if text not in known])), test


class Clock:
    """Seconds of training without those of the first step, in which the graph is traced."""

    def __init__(self):
        from tl_keras._keras import keras

        self.first = self.last = None
        self.steps = 0

        def batch_ended(*_, **__):
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.steps += 1

        self.callback = keras.callbacks.LambdaCallback(on_batch_end=batch_ended)

    @property
    def seconds(self) -> float:
        """As if the first step had taken as long as the others on average."""
        return (self.last - self.first) * self.steps / max(self.steps - 1, 1)


def measure(encoder, data: Data, train, test, epochs: int, seed: int, **options) -> dict:
    """Build, train and score one model."""
    import tl_keras as tlk
    from tl_keras._keras import keras

    keras.utils.set_random_seed(seed)
    if data.label is None:
        model = tlk.token_classifier(encoder, train.tag_set, **options)
        batches = encoder.tagging_batches(train, training=True, seed=seed)
    else:
        model = tlk.text_classifier(encoder, train.classes, **options)
        batches = encoder.batches(train, training=True, seed=seed)
    clock, trained, started = Clock(), model, time.perf_counter()
    if options.get("transfer") == "freeze" and data.label is not None and encoder.default_recurrent is None:
        # What a frozen encoder says of a text never changes: the head learns from vectors that are computed once.
        features = tlk.cache_features(model, train)
        trained, batches = features.model, features.batches(train, training=True, seed=seed)
    before = time.perf_counter() - started
    trained.fit(batches, epochs=epochs, verbose=0, callbacks=[clock.callback])
    report = tlk.evaluate(model, test)
    return {
        "accuracy": round(100 * float(report.f1 if data.label is None else report.accuracy), 2),
        "seconds": round(before + clock.seconds, 1),
        "parameters": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        "epochs": epochs,
        "examples": len(train),
    }


def network(data: Data) -> dict:
    """What all ways with vectors have in common, as options of the builders."""
    from tl_keras.models.recurrent import Recurrence

    options = {"recurrent": Recurrence("lstm", 128), "dropout": 0.3}
    return options if data.label is None else {**options, "pooling": "max"}


def vector_rows(way: str, data: Data, train, test, seed: int, vectors) -> dict:
    """Random embeddings and pre-trained word vectors."""
    from tl_keras.encoders.transfer_plan import Transfer
    from tl_keras.encoders.word_vectors.encoder import word_vector_encoder

    texts = train.texts.tolist()
    encoder = word_vector_encoder(None if way == "random" else vectors, texts, width=vectors.width, seed=seed)
    transfer = {"slow": Transfer("fine-tune", lr_multipliers={"embeddings": 0.1}), "freeze": "freeze"}.get(
        way, "fine-tune"
    )
    row = measure(encoder, data, train, test, data.epochs, seed, transfer=transfer, **network(data))
    return {**row, "known_words": round(100 * encoder.coverage(test.texts).token_fraction, 1)}


def elmo_rows(way: str, data: Data, train, test, seed: int, vectors, handle: str) -> dict:
    """Word vectors with those of a frozen biLM joined to them."""
    from tl_keras.encoders.word_vectors.encoder import word_vector_encoder
    from tl_keras.models.elmo import load_elmo

    place = way.removeprefix("elmo-")
    encoder = word_vector_encoder(vectors, train.texts.tolist(), contextual=load_elmo(handle), contextual_at=place)
    return measure(encoder, data, train, test, data.epochs, seed, transfer="fine-tune", **network(data))


def bert_rows(way: str, data: Data, train, test, seed: int, handle: str) -> dict:
    """A BERT-like encoder with a linear head."""
    import tl_keras as tlk

    transfer = way.removeprefix("bert-")
    epochs = data.bert_epochs * (3 if transfer == "freeze" else 1)
    return measure(tlk.load_encoder(handle, seq_length=128), data, train, test, epochs, seed, transfer=transfer)


def wanted_rows(options) -> Iterator[tuple[str, str, int, dict]]:
    """What can be measured and has not been: data set, way, seed and the row's key."""
    for name in options.sets:
        files = (
            (options.vectors, options.elmo) if DATA[name].language == "ko" else (options.vectors_en, options.elmo_en)
        )
        for seed in options.seeds:
            for way in options.ways:
                bert = way.startswith("bert")
                if (not bert and files[0] is None) or (way.startswith("elmo") and files[1] is None):
                    continue
                key = {
                    "data": name,
                    "way": way,
                    "seed": seed,
                    "vectors": None if bert else Path(files[0]).name,
                    "encoder": Path(options.encoder if bert else files[1]).name if bert or "elmo" in way else None,
                }
                if not has_row(RESULTS, key):
                    yield name, way, seed, key


def table() -> str:
    """All that is measured, in Markdown: a row for each way, a column for each data set."""
    rows = read_rows(RESULTS)
    names = [name for name in DATA if any(row["data"] == name for row in rows)]
    heads = []
    for name in names:
        texts = next(row["examples"] for row in rows if row["data"] == name)
        figure = "F1" if DATA[name].label is None else "accuracy"
        heads.append(f"{name.split('-')[0]}, {texts:,} texts, {figure}")
    lines = [f"| way | {' | '.join(heads)} | weights that learn |", "|---" * (len(names) + 2) + "|"]
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        if mine:
            weights = sorted(round(row["parameters"] / 1e6, 2) for row in mine)
            cells = [_cell([row for row in mine if row["data"] == name]) for name in names]
            spread = f"{weights[0]:g} M" if weights[0] == weights[-1] else f"{weights[0]:g} to {weights[-1]:g} M"
            lines.append(f"| {way} | {' | '.join(cells)} | {spread} |")
    return "\n".join(lines)


def _cell(rows: list[dict]) -> str:
    """Mean, spread over seeds, how many these are, and seconds."""
    if not rows:
        return "-"
    values = [row["accuracy"] for row in rows]
    seconds = statistics.mean(row["seconds"] for row in rows)
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread} ({seconds:.0f} s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what has been measured, and measure nothing")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--vectors", help="Korean word vectors, from pretrain word-vectors")
    parser.add_argument("--vectors-en", help="English ones")
    parser.add_argument("--elmo", help="Korean biLM, from pretrain bilm")
    parser.add_argument("--elmo-en", help="English one")
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--sets", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    if options.data is None:
        parser.error("name the folder of the data sets with --data")
    from tl_keras._keras import KERAS_NAME, keras
    from tl_keras.encoders.word_vectors.read import read_vectors

    loaded: dict = {}
    for name, way, seed, key in wanted_rows(options):
        data = DATA[name]
        if name not in loaded:
            loaded[name] = read(options.data, data)
        train, test = loaded[name]
        part = train if data.labels is None or data.labels >= len(train) else train.sample(data.labels, seed)
        if way.startswith("bert"):
            row = bert_rows(way, data, part, test, seed, options.encoder)
        else:
            korean = data.language == "ko"
            file = options.vectors if korean else options.vectors_en
            if file not in loaded:
                loaded[file] = read_vectors(file)
            if way.startswith("elmo"):
                row = elmo_rows(way, data, part, test, seed, loaded[file], options.elmo if korean else options.elmo_en)
            else:
                row = vector_rows(way, data, part, test, seed, loaded[file])
        add_row(RESULTS, {**key, **row, "keras": KERAS_NAME}, KEY)
        # Graphs of models that are done are not kept.
        keras.backend.clear_session()
    print(table())


if __name__ == "__main__":
    main()
