"""Gradual unfreezing of two of three blocks every two steps, on two logical CPUs; prints what moved. Run by test_transfer_control.py."""

from __future__ import annotations

import json
import sys

import tensorflow as tf

from tl_keras import text_classifier
from tl_keras.data import Examples
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.transfer_plan import Transfer

if __name__ == "__main__":
    from test_transfer_control import (  # beside this file; pytest, which collects it too, would not find it
        moved,
        values,
    )

    folder, pair = sys.argv[1:]
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    encoder = Encoder(folder, f"{pair}/preprocess", seq_length=16, layers=2)
    examples = Examples.from_lists(["good film", "bad film"] * 8, ["p", "n"] * 8)
    with strategy.scope():
        model = text_classifier(encoder, examples.classes, Transfer("gradual", unfreeze_every="2 steps"))
    before = values(model)
    model.fit(encoder.batches(examples, training=True, batch_size=4, drop_remainder=True), epochs=1, verbose=0)
    optimizer = model.optimizer
    since = optimizer.get_config()["groups"]["unfrozen_at"]
    result = {
        "replicas": strategy.num_replicas_in_sync,
        "moved": moved(before, values(model)),
        "unfrozen_at": dict(zip(optimizer.group_names, since, strict=True)),
    }
    print(json.dumps(result))
