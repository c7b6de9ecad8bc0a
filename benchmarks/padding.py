"""How much time padding costs: our length-bucketed batches against the TF Hub tutorial's fixed 128.

    TF_USE_LEGACY_KERAS=1 python benchmarks/padding.py --data SST2_FOLDER/train.csv --encoder ENCODER_PAIR

The tutorial's way (https://www.tensorflow.org/text/tutorials/classify_text_with_bert): the preprocessing module is a layer of the
model, so every text is padded to 128 tokens, in random batches. Ours: tokenizing in tf.data, batches of texts of like length,
trimmed to the longest. Same encoder, head, optimizer, texts, batch size; the two take turns, one epoch each, and the first of
each is not counted. Keras 2, because the tutorial's `hub.KerasLayer` knows no other. Results: benchmarks/results/padding.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME, keras
from tl_keras.encoders.download import tensorflow_hub
from tl_keras.training.optimizer import make_optimizer

RESULTS = Path(__file__).parent / "results" / "padding.json"


def tutorial_model(folder: Path, trainable: bool):
    text = keras.Input(shape=(), dtype="string")
    packed = tensorflow_hub().KerasLayer(str(folder / "preprocess"))(text)
    pooled = tensorflow_hub().KerasLayer(str(folder / "encoder"), trainable=trainable)(packed)["pooled_output"]
    output = keras.layers.Dense(2, activation="softmax")(keras.layers.Dropout(0.1)(pooled))
    model = keras.Model(text, output)
    model.compile(make_optimizer(5e-5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def tutorial_batches(examples, batch_size: int):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((examples.texts.tolist(), examples.labels))
    return data.shuffle(len(examples), seed=0).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="train.csv of SST-2, columns text and label")
    parser.add_argument("--encoder", type=Path, required=True, help="folder with encoder/ and preprocess/")
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    examples = tlk.read_table(options.data).sample(options.texts)
    encoder = tlk.load_encoder(str(options.encoder), seq_length=128)
    results = {
        "keras": KERAS_NAME,
        "texts": len(examples),
        "batch_size": options.batch_size,
        "encoder": options.encoder.name,
    }
    for mode in ("fine-tune", "freeze"):
        ways = {
            "fixed 128": (
                tutorial_model(options.encoder, mode == "fine-tune"),
                tutorial_batches(examples, options.batch_size),
            ),
            "length-bucketed": (
                tlk.text_classifier(encoder, examples.classes, mode, learning_rate=5e-5),
                encoder.batches(examples, training=True, batch_size=options.batch_size),
            ),
        }
        rates, cpu = {way: [] for way in ways}, {way: [] for way in ways}
        for _ in range(options.rounds + 1):
            for way, (model, batches) in ways.items():
                started, busy = time.perf_counter(), time.process_time()
                model.fit(batches, epochs=1, verbose=0)
                rates[way].append(len(examples) / (time.perf_counter() - started))
                cpu[way].append(time.process_time() - busy)
        counted = {way: values[1:] for way, values in rates.items()}
        ratios = [ours / theirs for ours, theirs in zip(counted["length-bucketed"], counted["fixed 128"], strict=True)]
        results[mode] = {way: [round(v, 1) for v in values] for way, values in counted.items()}
        results[mode]["times as fast"] = [round(r, 2) for r in ratios]
        # What other programs on the machine do hardly changes it.
        results[mode]["CPU seconds an epoch"] = {way: [round(v, 1) for v in values[1:]] for way, values in cpu.items()}
        for way, values in counted.items():
            print(
                f"{mode:10} {way:16} {statistics.median(values):7.1f} examples/s ({min(values):.1f} to {max(values):.1f})"
            )
        seconds = {way: statistics.median(values[1:]) for way, values in cpu.items()}
        print(
            f"{mode:10} CPU seconds      " + ", ".join(f"{way} {value:.1f}" for way, value in seconds.items()),
        )
        print(
            f"{mode:10} times as fast    {statistics.median(ratios):7.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
