"""Freeze, let the upper half learn, or fine-tune: accuracy and seconds by data set and number of labels.

    python benchmarks/transfer_modes.py --data DATA_FOLDER                # everything that is not in the results yet
    python benchmarks/transfer_modes.py --data DATA_FOLDER --quick        # nsmc and trec, 100 labels, one seed: two or three minutes
    python benchmarks/transfer_modes.py --data DATA_FOLDER --estimate     # what is missing, and about how long it will take
    python benchmarks/transfer_modes.py --table                           # Markdown, for the README

DATA_FOLDER holds `nsmc/train.csv`, `nsmc/test.csv`, `sst2/train.csv`, `sst2/dev.csv`, `trec/train.csv`, `question_pair/train.csv` and
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

To save the ten seconds that tracing a model takes, runs of one data set and mode share a model whose weights and optimizer are put back to
their start; the encoder's dropout goes on drawing where the run before left off, so a row repeats to within that luck, not to the digit.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np
from rows import add_row, read_rows

RESULTS = Path(__file__).parent / "results" / "transfer_modes.json"
MODES = ("tf-idf", "evidence", "freeze", "top", "fine-tune")
SHOWN = ("tf-idf", "freeze", "top-1", "top", "gradual", "fine-tune")
LABELS = (100, 1000, 5000)
SEEDS = (0, 1, 2)
KEY = ("data", "mode", "encoder", "labels", "seed")


class Clock:
    """Seconds since it was made."""

    def __init__(self):
        self._started = time.perf_counter(), time.process_time()

    def read(self) -> np.ndarray:
        """On the clock, and of the processor."""
        return np.array([time.perf_counter(), time.process_time()]) - self._started


@dataclasses.dataclass(frozen=True)
class Data:
    """Where a data set is, and how it is read.

    Attributes:
        train: file below the data folder.
        test: the same, or how many rows of the training file are held out.
        text, text_pair, label: columns.
        names: label names in place of those in the file.
    """

    train: str
    test: str | int
    text: str = "text"
    text_pair: str | None = None
    label: str = "label"
    names: dict[str, str] | None = None


DATA = {
    "nsmc": Data("nsmc/train.csv", "nsmc/test.csv", "document"),
    "sst2": Data("sst2/train.csv", "sst2/dev.csv"),
    # No test file is at hand: 865 of 5,365 rows are held out, the same for all seeds.
    "trec": Data("trec/train.csv", 865, label="label_name"),
    # CAUTION: in this file `is_duplicate` is the reverse of its name, 0 = the same question, 1 = another one.
    "question_pair": Data(
        "question_pair/train.csv",
        "question_pair/dev.csv",
        "question1",
        "question2",
        "is_duplicate",
        {"0": "same", "1": "different"},
    ),
}


def read(folder: Path, data: Data):
    """Training and test examples; no text of the test is in the training part."""
    import tl_keras as tlk
    from tl_keras.advice.labels import text_keys

    def table(file: str):
        examples = tlk.read_table(folder / file, data.text, data.label, data.text_pair)
        return examples if data.names is None else renamed(examples, data.names)

    train = table(data.train)
    if isinstance(data.test, int):
        train, test = train.split(data.test / len(train), seed=0)
    else:
        test = table(data.test)
    known = set(text_keys(test))
    kept = np.array([row for row, key in enumerate(text_keys(train)) if key not in known])
    return train.take(kept), test


def renamed(examples, names: dict[str, str]):
    """The same examples under other label names."""
    import tl_keras as tlk

    labels = [names[name] for name in examples.label_names]
    return tlk.Examples.from_lists(
        examples.texts.tolist(), labels, examples.text_pairs.tolist(), tuple(names.values()), examples.source
    )


class Bench:
    """One data set and one encoder: what its runs share."""

    def __init__(self, name: str, folder: Path, handle: str, needed: set[tuple[int, int]]):
        import tl_keras as tlk
        from tl_keras.advice.curve import stratified_order
        from tl_keras.advice.frozen import FrozenEncoder

        self.name = name
        self.train, self.test = read(folder, DATA[name])
        self.encoder = tlk.load_encoder(handle, seq_length=128)
        self.frozen = FrozenEncoder(self.encoder)
        # Training rows of each run, and the number of labels there really are for the largest.
        self.rows = {
            (labels, seed): stratified_order(self.train.labels, np.random.default_rng(seed))[:labels]
            for labels, seed in needed
        }
        self._models: dict = {}
        self._vectors = None

    def part(self, labels: int, seed: int):
        """The training texts of a run."""
        return self.train.take(self.rows[labels, seed])

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The frozen encoder's vectors of training rows; each text is encoded once."""
        if self._vectors is None:
            used = np.unique(np.concatenate(list(self.rows.values())))
            self._vectors = np.zeros((len(self.train), self.frozen.width), "float32")
            self.frozen.vectors(self.train.take(used[:64]))  # the graph is built before the clock starts
            clock = Clock()
            self._vectors[used] = self.frozen.vectors(self.train.take(used))
            self.seconds_a_text = clock.read() / len(used)
            self.test_vectors = self.frozen.vectors(self.test)
        return self._vectors[rows]

    def run(self, mode: str, labels: int, seed: int) -> dict:
        """A row of the results, without its key."""
        if mode == "tf-idf":
            return self._tf_idf(labels, seed)
        if mode == "evidence":
            return self._evidence(labels, seed)
        return self._freeze(labels, seed) if mode == "freeze" else self._train(mode, labels, seed)

    def _tf_idf(self, labels: int, seed: int) -> dict:
        from tl_keras.advice.advise import joins_words
        from tl_keras.advice.curve import words_method

        part = self.part(labels, seed)
        both = _joined(part, self.test)
        clock = Clock()
        method = words_method(both, joins_words(part.texts))
        answers = method(np.arange(len(part)), np.arange(len(part), len(both)))
        return _row(np.mean(answers == self.test.labels), clock.read())

    def _evidence(self, labels: int, seed: int) -> dict:
        from tl_keras.advice.advise import SAMPLE, gather_evidence, measure_curves
        from tl_keras.advice.labels import different_rows, label_report

        part = self.part(labels, seed)
        clock = Clock()
        # As `advise` does: each text once, and a sample of many. (Any beginning of the rows holds the classes in proportion.)
        kept = different_rows(part)
        sampled = kept[:SAMPLE]
        vectors = self.vectors(self.rows[labels, seed][sampled])
        curves = measure_curves(part.take(sampled), vectors, len(kept), seed)
        pairs = part.text_pairs is not None
        evidence = gather_evidence(label_report(part), curves, len(kept), pairs, self.frozen)
        return {"evidence": dataclasses.asdict(evidence), **_seconds(clock.read())}

    def _freeze(self, labels: int, seed: int) -> dict:
        from tl_keras._keras import keras
        from tl_keras.advice.rules import epochs_for, learning_rate_for
        from tl_keras.training.optimizer import WarmupLinearDecay, make_optimizer

        rows, part = self.rows[labels, seed], self.part(labels, seed)
        vectors, labels = self.vectors(rows), len(rows)
        keras.utils.set_random_seed(seed)
        epochs, rate = epochs_for(labels, "freeze"), learning_rate_for(self.frozen.width, "freeze")
        inputs = keras.Input((self.frozen.width,))
        dropped = keras.layers.Dropout(0.1)(inputs)
        start = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
        head = keras.Model(inputs, keras.layers.Dense(len(part.classes), "softmax", kernel_initializer=start)(dropped))
        schedule = WarmupLinearDecay(rate)
        schedule.plan(0, epochs * -(-labels // 32))
        head.compile(make_optimizer(schedule), "sparse_categorical_crossentropy", jit_compile=False)
        clock = Clock()
        head.fit(vectors, part.labels, batch_size=32, epochs=epochs, verbose=0)
        seconds = clock.read() + self.seconds_a_text * labels
        answers = head.predict(self.test_vectors, batch_size=512, verbose=0).argmax(-1)
        return _row(np.mean(answers == self.test.labels), seconds, epochs=epochs, learning_rate=rate)

    def _train(self, mode: str, labels: int, seed: int) -> dict:
        import tl_keras as tlk
        from tl_keras._keras import keras
        from tl_keras.advice.rules import TOP, epochs_for, learning_rate_for, transfer_name

        transfer = transfer_name(TOP, self.frozen.blocks) if mode == "top" else mode
        part = self.part(labels, seed)
        epochs = epochs_for(len(part), mode)
        if mode == "gradual":
            # Head, blocks, embeddings: each joins after an epoch, and the last still learns for two.
            epochs = max(epochs, self.frozen.blocks + 3)
        rate = learning_rate_for(self.frozen.width, mode, self.encoder.suggested.get("learning_rate"))
        if transfer not in self._models:
            model = tlk.text_classifier(
                self.encoder, part.classes, transfer, pooling=self.frozen.pooling, learning_rate=rate
            )
            weights = model.get_weights()
            warm_up = self.encoder.batches(part, training=True, seed=seed).take(1)
            model.fit(warm_up, epochs=1, verbose=0)  # builds the graph and the optimizer
            self._models[transfer] = (model, weights, _asleep(model))
        model, weights, asleep = self._models[transfer]
        model.set_weights(weights)
        _forget(model, asleep)
        keras.utils.set_random_seed(seed)
        kernel = model.get_layer("logits").kernel
        kernel.assign(keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)(kernel.shape))
        model.get_layer("logits").bias.assign(np.zeros(len(part.classes), "float32"))
        batches = self.encoder.batches(part, training=True, seed=seed)
        clock = Clock()
        model.fit(batches, epochs=epochs, verbose=0)
        seconds = clock.read()
        accuracy = tlk.evaluate(model, self.test).accuracy
        return _row(accuracy, seconds, transfer=transfer, epochs=epochs, learning_rate=rate)


def _asleep(model) -> np.ndarray | None:
    """Of gradual unfreezing: which groups sleep at the start."""
    from tl_keras.transfer.control import optimizer_of

    optimizer = optimizer_of(model)
    if not optimizer.group_names:
        return None
    return np.where(np.array(optimizer.group_names) == "head", 0.0, -1.0).astype("float32")


def _forget(model, asleep: np.ndarray | None) -> None:
    """Put the optimizer back to before its first step: no moments, no steps, its groups asleep again."""
    from tl_keras._keras import tf_variable
    from tl_keras.transfer.control import optimizer_of

    optimizer = optimizer_of(model)
    kept = {"group_rates", "learning_rate"}
    for variable in optimizer.variables:
        if not any(name in getattr(variable, "path", variable.name) for name in kept):
            tf_variable(variable).assign(np.zeros(variable.shape, tf_variable(variable).dtype.as_numpy_dtype))
    if asleep is not None:
        tf_variable(optimizer._awake_since).assign(asleep)


def _joined(first, second):
    """Two sets of examples in one."""
    pairs = None if first.text_pairs is None else np.concatenate([first.text_pairs, second.text_pairs])
    return dataclasses.replace(
        first,
        texts=np.concatenate([first.texts, second.texts]),
        text_pairs=pairs,
        labels=np.concatenate([first.labels, second.labels]),
    )


def _row(accuracy: float, seconds: np.ndarray, **settings) -> dict:
    return {"accuracy": round(100 * float(accuracy), 2), **_seconds(seconds), **settings}


def _seconds(seconds: np.ndarray) -> dict:
    return {"seconds": round(float(seconds[0]), 1), "cpu_seconds": round(float(seconds[1]), 1)}


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
    """About how long the missing runs take on two cores with ko-en-mini, from what is measured or else from what it is made of."""
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
    parser.add_argument("--encoder", default="ko-en-mini")
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
