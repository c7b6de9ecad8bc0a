"""One run of benchmarks/transfer_modes.py: one mode, some training texts of one data set; its accuracy and its seconds.

To save the ten seconds that tracing a model takes, runs of one data set and mode share a model whose weights and optimizer are put back to
their start; the encoder's dropout goes on drawing where the run before left off, so a row repeats to within that luck, not to the digit.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
from labelled_data import DATA, read

import tl_keras as tlk
from tl_keras._keras import keras, tf_variable
from tl_keras.advice.advise import SAMPLE, FrozenEncoder, gather_evidence, joins_words, measure_curves
from tl_keras.advice.curve import stratified_order, words_method
from tl_keras.advice.rules import TOP, epochs_for, learning_rate_for, transfer_name
from tl_keras.advice.texts import different_rows, label_report
from tl_keras.models.transfer_control import optimizer_of, prepare
from tl_keras.training.optimizer import make_optimizer
from tl_keras.training.step import WarmupLinearDecay


class Clock:
    """Seconds since it was made."""

    def __init__(self):
        self._started = time.perf_counter(), time.process_time()

    def read(self) -> np.ndarray:
        """On the clock, and of the processor."""
        return np.array([time.perf_counter(), time.process_time()]) - self._started


class Bench:
    """One data set and one encoder: what its runs share."""

    def __init__(self, name: str, folder: Path, handle: str, needed: set[tuple[int, int]]):
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
        part = self.part(labels, seed)
        both = _joined(part, self.test)
        clock = Clock()
        method = words_method(both, joins_words(part.texts))
        answers = method(np.arange(len(part)), np.arange(len(part), len(both)))
        return _row(np.mean(answers == self.test.labels), clock.read())

    def _evidence(self, labels: int, seed: int) -> dict:
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
            prepare(model)
            weights, unfrozen_at = model.get_weights(), _unfrozen_at(model)
            warm_up = self.encoder.batches(part, training=True, seed=seed).take(1)
            model.fit(warm_up, epochs=1, verbose=0)  # builds the graph and the optimizer
            self._models[transfer] = (model, weights, unfrozen_at)
        model, weights, unfrozen_at = self._models[transfer]
        model.set_weights(weights)
        _forget(model, unfrozen_at)
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


def _unfrozen_at(model) -> np.ndarray | None:
    """Which groups are frozen at the start; None where all learn alike."""
    optimizer = optimizer_of(model)
    return tf_variable(optimizer._unfrozen_at).numpy() if optimizer.group_names else None


def _forget(model, unfrozen_at: np.ndarray | None) -> None:
    """Put the optimizer back to before its first step: no moments, no steps, its groups as they were."""
    optimizer = optimizer_of(model)
    kept = {"group_multipliers", "learning_rate"}
    for variable in optimizer.variables:
        if not any(name in getattr(variable, "path", variable.name) for name in kept):
            tf_variable(variable).assign(np.zeros(variable.shape, tf_variable(variable).dtype.as_numpy_dtype))
    if unfrozen_at is not None:
        tf_variable(optimizer._unfrozen_at).assign(unfrozen_at)


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
