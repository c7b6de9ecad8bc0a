"""Each builder on one device and on two: prints how far the losses and what else is measured lie apart. Run by test_replicas.py.

`python replicas_run.py PAIR FOLDER builder:transfer ... [resume] [bilm=FOLDER]`, where "all" stands for every builder and transfer.
"""

from __future__ import annotations

import contextlib
import json
import sys

import numpy as np

STEPS = 20
if __name__ == "__main__":
    from builders import (  # beside this file; pytest, which collects it too, would not find it
        BUILDERS,
        TRANSFERS,
        build,
    )

    from tl_keras import Transfer, UserError, load_encoder
    from tl_keras._keras import IS_KERAS_3, keras
    from tl_keras.training.checkpoints import Checkpoints
    from tl_keras.training.resume import resumable_fit
    from tl_keras.training.strategy import get_strategy

    class Losses(keras.callbacks.Callback):
        """Keeps the running mean of the loss behind each step."""

        def __init__(self):
            super().__init__()
            self.values = []

        def on_train_batch_end(self, batch, logs=None):
            self.values.append(float(logs["loss"]))

    def losses(model, batches, steps=STEPS, **options) -> list[float]:
        watch = Losses()
        epochs = -(-steps // int(batches.cardinality()))
        resumable_fit(model, batches, epochs=epochs, callbacks=[watch], verbose=0, **options)
        return watch.values[:steps]

    pair, *wanted = sys.argv[1:]
    folder, *wanted = wanted
    resume = "resume" in wanted
    bilm = next((case.removeprefix("bilm=") for case in wanted if case.startswith("bilm=")), None)
    wanted = [case for case in wanted if case != "resume" and not case.startswith("bilm=")]
    two = get_strategy("mirrored", virtual_devices=2)
    encoder = load_encoder(pair, seq_length=16)
    if wanted == ["all"]:
        # Word vectors have no blocks that could be unfrozen one by one; a biLM is frozen in any case.
        ways = {"word_vectors": TRANSFERS[:2], "elmo": TRANSFERS[:1]}
        # Models that read strings are refused in Keras 3: see test_strategy.py.
        builders = [builder for builder in BUILDERS if not (IS_KERAS_3 and builder.startswith("elmo"))]
        wanted = [
            f"{builder}:{transfer}" for builder in builders[::-1] for transfer in ways.get(builder, TRANSFERS)[::-1]
        ]
    result = {"replicas": two.num_replicas_in_sync, "apart": {}, "changed": {}}
    for case in wanted:
        builder, transfer = case.split(":")
        plan = Transfer("gradual", unfreeze_every="4 steps") if transfer == "gradual" else transfer
        source = bilm if builder.startswith("elmo") else encoder
        model, batches = build(builder, source, plan)
        start = model.get_weights()
        one = losses(model, batches)
        with two.scope():
            mirrored, batches = build(builder, source, plan)
        mirrored.set_weights(start)
        both = losses(mirrored, batches)
        result["apart"][case] = float(np.abs(np.array(one) - both).max())
        result["changed"][case] = float(np.ptp(one))
    # A last batch of one row: one replica has nothing. The metrics are over all rows all the same, and training goes on.
    _, batches = build(builder, encoder, plan, rows=65, training=False)
    mirrored.set_weights(model.get_weights())
    alone, shared = (m.evaluate(batches, verbose=0, return_dict=True) for m in (model, mirrored))
    result["partial_batch"] = {name: [alone[name], shared[name]] for name in alone}
    result["finite_after_partial_batch"] = bool(np.isfinite(losses(mirrored, batches, 9)).all())

    # A first batch of odd size, in plain `fit` and its validation: the replicas' shares of it differ.
    with two.scope():
        odd, batches = build("text_classifier", encoder, "freeze", rows=5, training=False)
    history = odd.fit(batches, validation_data=batches, epochs=1, verbose=0).history
    single, batches = build("text_classifier", encoder, "freeze", rows=5, training=False)
    single.set_weights(odd.get_weights())
    result["odd_first_batch"] = [history["val_loss"][0], single.evaluate(batches, verbose=0, return_dict=True)["loss"]]

    class Stop(keras.callbacks.Callback):
        """Interrupts the second epoch."""

        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() == 13:
                raise KeyboardInterrupt

    def again(callbacks=(), checkpoints=True):
        with two.scope():
            model, batches = build("text_classifier", encoder, "freeze", rows=65)
        model.set_weights(start)
        checkpoints = Checkpoints(folder, 5) if checkpoints else None
        resumable_fit(model, batches, epochs=3, checkpoints=checkpoints, callbacks=callbacks, verbose=0)
        return model

    if resume:
        with two.scope():
            start = build("text_classifier", encoder, "freeze", rows=65)[0].get_weights()
        whole = again(checkpoints=False)
        with contextlib.suppress(KeyboardInterrupt):
            again([Stop()])
        resumed = again()
        pairs = zip(resumed.get_weights(), whole.get_weights(), strict=True)
        result["resumed_apart"] = float(max(np.abs(a - b).max() for a, b in pairs))
    # Loaded outside the scope.
    inputs = encoder.inputs()
    for trainable in (False, True):
        layer = encoder.layer(trainable)
        try:
            with two.scope():
                layer(inputs)
        except UserError as error:
            result[f"refusal_{trainable}"] = str(error)
    print(json.dumps(result))
