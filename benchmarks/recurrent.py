"""How fast are recurrent networks on this CPU? Our layer against Keras's, one training step at a time.

    TF_USE_LEGACY_KERAS=1 python benchmarks/recurrent.py            # what is measured is added to benchmarks/results/recurrent.json
    TF_ENABLE_ONEDNN_OPTS=0 TF_USE_LEGACY_KERAS=1 python benchmarks/recurrent.py
    TF_NUM_INTRAOP_THREADS=1 TF_USE_LEGACY_KERAS=1 taskset -c 0 python benchmarks/recurrent.py

Each step reads a batch of texts in both directions, goes back through them, and gives the gradients of all weights; the ways take turns.
Words per second are those of the texts, padding left out; the median and the range of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from rows import add_row

from tl_keras._keras import KERAS_NAME, keras, tf_variable
from tl_keras.encoders.operations import reverse
from tl_keras.models.recurrent import RecurrentNetwork, text_lengths

RESULTS = Path(__file__).parent / "results" / "recurrent.json"
KEY = ("way", "keras", "onednn", "threads", "batch", "length", "width", "units")


def ways(units: int) -> dict:
    """What is compared: a function of texts and mask for each name."""
    found = {}
    for kind, cell in (("lstm", keras.layers.LSTM), ("gru", keras.layers.GRU)):
        network = RecurrentNetwork(kind, units)
        theirs = keras.layers.Bidirectional(cell(units, return_sequences=True))
        found[f"{kind}, ours"] = (lambda x, mask, network=network: network([x, mask])), network
        found[f"{kind}, Keras"] = (lambda x, mask, layer=theirs: layer(x, mask=mask > 0)), theirs
    network = RecurrentNetwork("lstm", units)
    found["lstm, BlockLSTM"] = (lambda x, mask: block_lstm(network, x, mask)), network
    return found


def block_lstm(network: RecurrentNetwork, x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """What the network does, on TensorFlow's fused kernel."""
    if not network.built:
        network([x, mask])
    lengths, found = text_lengths(mask), []
    start, peephole = tf.zeros([tf.shape(x)[0], network.units]), tf.zeros([network.units])
    for direction in ("forward", "backward"):
        kernel, recurrent, bias = (
            tf.convert_to_tensor(tf_variable(getattr(network, f"{direction}_{part}")))
            for part in ("kernel", "recurrent_kernel", "bias")
        )
        turned = x if direction == "forward" else reverse(x, lengths)
        states = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(x, out_type=tf.int64)[1], x=tf.transpose(turned, [1, 0, 2]), cs_prev=start, h_prev=start,
            w=tf.concat([kernel, recurrent], axis=0), wci=peephole, wcf=peephole, wco=peephole, b=bias, forget_bias=1.0,
            cell_clip=-1.0, use_peephole=False,
        ).h  # fmt: skip
        states = tf.transpose(states, [1, 0, 2])
        found.append(states if direction == "forward" else reverse(states, lengths))
    return tf.concat(found, axis=-1) * tf.cast(mask, tf.float32)[..., tf.newaxis]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("batch", 32), ("length", 24), ("width", 128), ("units", 128), ("rounds", 5), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    # Of about one length, as in length buckets.
    lengths = rng.integers(options.length - 3, options.length + 1, options.batch)
    lengths[0] = options.length
    mask = tf.constant((np.arange(options.length) < lengths[:, None]).astype("int32"))
    x = tf.constant(rng.normal(size=(options.batch, options.length, options.width)).astype("float32"))

    def step_of(run, layer):
        @tf.function
        def step(x, mask):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(run(x, mask) * tf.cast(mask, tf.float32)[..., tf.newaxis])
            return tape.gradient(loss, layer.trainable_variables)

        run(x, mask)
        step(x, mask)
        return step

    steps = {name: step_of(*parts) for name, parts in ways(options.units).items()}
    speeds = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            for _ in range(options.steps):
                gradients = step(x, mask)
            _ = [gradient.numpy() for gradient in gradients]
            speeds[name].append(options.steps * int(lengths.sum()) / (time.perf_counter() - started))
    for name, found in speeds.items():
        row = {
            "way": name,
            "keras": KERAS_NAME,
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
            "threads": int(os.environ.get("TF_NUM_INTRAOP_THREADS", os.cpu_count())),
            **{part: getattr(options, part) for part in KEY[4:]},
            "words_per_second": round(statistics.median(found)),
            "range": [round(min(found)), round(max(found))],
        }
        add_row(RESULTS, row, KEY)


if __name__ == "__main__":
    main()
