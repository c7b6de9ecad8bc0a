"""How much time it saves to run a frozen encoder once: the TF Hub tutorial's way, our batches, and our cached features.

    TF_USE_LEGACY_KERAS=1 python benchmarks/feature_cache.py --train NSMC/train.csv --test NSMC/test.csv --text document

Three ways to train the same head (dropout 0.1, one dense layer) on the same frozen encoder's pooled output, with the same optimizer,
texts and batch size:

- `tutorial`: as in https://www.tensorflow.org/text/tutorials/classify_text_with_bert, the preprocessing module is a layer of the model,
  so every text is padded to 128 tokens, in random batches, and the encoder runs in every epoch;
- `uncached`: `encoder.batches`, of texts of like length, trimmed to the longest; the encoder runs in every epoch;
- `cached`: `cache_features`, and the head alone in every epoch.

The clock runs from the built model to the last epoch's end: tracing, tokenizing and computing the features are in it, scoring the test
file is not. Keras 2, because the tutorial's `hub.KerasLayer` knows no other.

With `--measured N` the first two ways run only N epochs of `--epochs`, and each of the others is counted as the mean of these without
their first steps (the very first traces); such a time is marked `extrapolated`, and has no accuracy. Results:
benchmarks/results/feature_cache.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import tensorflow as tf

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME, keras
from tl_keras.encoders.download import tensorflow_hub
from tl_keras.features.frozen import cache_features
from tl_keras.training.optimizer import make_optimizer

RESULTS = Path(__file__).parent / "results" / "feature_cache.json"
WAYS = ("tutorial", "uncached", "cached")


class EpochSeconds(keras.callbacks.Callback):
    """Notes how long each epoch takes, and how long it would without what only its first step costs."""

    def on_train_begin(self, logs=None):
        """Start anew."""
        self.seconds, self.usual = [], []

    def on_epoch_begin(self, epoch, logs=None):
        """Look at the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Look at it again."""
        if batch == 0:
            self._first_step = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Note the time."""
        now, steps = time.perf_counter(), self.params["steps"]
        self.seconds.append(now - self._started)
        self.usual.append((now - self._first_step) * steps / (steps - 1))


def tutorial_model(encoder, classes: int, rate: float):
    text = keras.Input(shape=(), dtype="string")
    packed = tensorflow_hub().KerasLayer(encoder.preprocessor_folder)(text)
    assert {int(value.shape[-1]) for value in packed.values()} == {128}, "this encoder's own length is not 128"
    pooled = tensorflow_hub().KerasLayer(encoder.folder, trainable=False)(packed)["pooled_output"]
    output = keras.layers.Dense(classes, activation="softmax")(keras.layers.Dropout(0.1)(pooled))
    model = keras.Model(text, output)
    # Without XLA, which is slower on CPU; the same for all ways.
    model.compile(make_optimizer(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model


def tutorial_batches(examples, batch_size: int, training: bool):
    data = tf.data.Dataset.from_tensor_slices((examples.texts.tolist(), examples.labels))
    data = data.shuffle(len(examples), seed=0) if training else data
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def run(way: str, encoder, train, test, options) -> dict:
    """Train one way; returns its row of the results."""
    keras.utils.set_random_seed(options.seed)
    epochs = options.epochs if way == "cached" else min(options.measured or options.epochs, options.epochs)
    batch = {"batch_size": options.batch_size}
    if way == "tutorial":
        model = tutorial_model(encoder, len(train.classes), options.rate)
        # The rate must fall over the epochs that are run.
        model.optimizer._learning_rate.plan(0, epochs * -(-len(train) // options.batch_size))
    else:
        model = tlk.text_classifier(encoder, train.classes, "freeze", pooling="cls", learning_rate=options.rate)
    record, features = EpochSeconds(), 0.0
    started = time.perf_counter()
    if way == "tutorial":
        fitted, batches = model, tutorial_batches(train, options.batch_size, training=True)
    elif way == "uncached":
        fitted, batches = model, encoder.batches(train, training=True, **batch)
    else:
        cached = cache_features(model, train)
        features = time.perf_counter() - started
        fitted, batches = cached.model, cached.batches(train, training=True, **batch)
    fitted.fit(batches, epochs=epochs, callbacks=[record], verbose=0)
    seconds = time.perf_counter() - started
    row = {"way": way, "epochs": options.epochs, "epochs_run": epochs, "extrapolated": epochs < options.epochs}
    if row["extrapolated"]:
        usual = statistics.mean(record.usual)
        row.update(seconds=seconds + usual * (options.epochs - epochs), accuracy=None)
    elif way == "tutorial":
        scores = model.predict(tutorial_batches(test, 64, training=False).map(lambda text, label: text), verbose=0)
        row.update(seconds=seconds, accuracy=100 * float((scores.argmax(-1) == test.labels).mean()))
    else:
        row.update(seconds=seconds, accuracy=100 * tlk.evaluate(model, test).accuracy)
    row.update(feature_seconds=features, epoch_seconds=record.seconds, train_loss=fitted.history.history["loss"][-1])
    return row


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="CSV or TSV file with a header line")
    parser.add_argument("--test", required=True, help="another, with the same labels")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--texts", type=int, default=20000, help="of the training file, drawn by the seed")
    parser.add_argument("--test-texts", type=int, help="of the test file; all by default")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--measured", type=int, help="epochs really run of `tutorial` and `uncached`; all by default")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr-multiplier", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()

    train = tlk.read_table(options.train, options.text, options.label).sample(options.texts, options.seed)
    test = tlk.read_table(options.test, options.text, options.label, classes=train.classes)
    test = test.sample(options.test_texts, options.seed) if options.test_texts else test
    encoder = tlk.load_encoder(options.encoder, seq_length=128)
    rows = []
    for way in options.ways:
        rows.append(run(way, encoder, train, test, options))
        accuracy = "accuracy not measured" if rows[-1]["accuracy"] is None else f"accuracy {rows[-1]['accuracy']:.2f}"
        label = f"{options.epochs} epochs" + (f", {rows[-1]['epochs_run']} run" if rows[-1]["extrapolated"] else "")
        print(f"{way:9} {rows[-1]['seconds']:8.1f} s ({label})  {accuracy}", flush=True)
    seconds = {row["way"]: row["seconds"] for row in rows}
    ratios = {way: seconds[way] / seconds["cached"] for way in seconds if way != "cached" and "cached" in seconds}
    for way, ratio in ratios.items():
        print(f"cached is {ratio:.1f} times as fast as {way}")
    results = {
        "keras": KERAS_NAME,
        "encoder": Path(options.encoder).name,
        "texts": len(train),
        "test_texts": len(test),
        "batch_size": options.batch_size,
        "learning_rate": options.rate,
        "seed": options.seed,
        "times_as_fast": ratios,
        "ways": rows,
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(rounded(results), indent=1) + "\n")


if __name__ == "__main__":
    main()
