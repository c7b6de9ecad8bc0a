"""What a TPU asks of a training step, checked without one: one shape, no strings, no calls to the host, and XLA can compile it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.training.resume import resumable_fit

sys.path.insert(0, str(Path(__file__).parent))
from builders import BUILDERS, build

HOST_CALLS = {
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "XlaHostCompute",
    "Print",
    "PrintV2",
    "LookupTableFindV2",
    "RandomShuffle",
}
STATIC = {"fixed_length": True, "drop_remainder": True, "batch_size": 8}


def ops_in(function) -> list[tf.Operation]:
    """The operations of a traced function and of all functions it calls."""
    graphs, seen = [function.graph], []
    while graphs:
        graph = graphs.pop()
        seen += graph.get_operations()
        graphs += [
            inner for name in list(graph._functions) if (inner := getattr(graph._functions[name], "graph", None))
        ]
    return seen


@pytest.mark.parametrize(
    "name", [BUILDERS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in BUILDERS[1:-1])]
)
def test_the_step_of_every_builder(name, tiny_pair):
    """Those on ELMo read strings, and so are refused on a TPU."""
    from tl_keras import load_encoder

    encoder = load_encoder(str(tiny_pair), seq_length=16)
    model, batches = build(name, encoder, "freeze", rows=20, **STATIC)
    # One shape for all batches, known before.
    for spec in tf.nest.flatten(batches.element_spec):
        assert spec.shape.is_fully_defined()
        assert spec.shape[0] == 8
        assert spec.dtype != tf.string
    # An answerer cuts a text into several windows, so it has more of them than rows.
    found = list(batches)
    assert len(found) >= 2
    assert {len(part) for part in tf.nest.flatten(found)} == {8}
    batch = found[0]

    def step(data):
        # What `fit` runs on a replica.
        return model.train_step(data)

    start = model.get_weights()
    plain, compiled = tf.function(step), tf.function(step, jit_compile=True)
    expected = plain(batch)
    traced = plain.get_concrete_function(batch)
    ops = ops_in(traced)
    assert len(ops) > 50
    assert not {op.type for op in ops} & HOST_CALLS
    strings = [
        op.name
        for op in ops
        for tensor in (*op.inputs, *op.outputs)
        if tensor.dtype == tf.string and op.type != "Const"
    ]
    # Assertions carry their messages; XLA drops both.
    assert not [name for name in strings if "Assert" not in name and "assert" not in name]
    moved = model.get_weights()
    model.set_weights(start)
    for variable in model.optimizer.variables:
        variable.assign(tf.zeros_like(variable))
    model.reset_metrics()
    found = compiled(batch)
    np.testing.assert_allclose(float(found["loss"]), float(expected["loss"]), rtol=1e-4)
    for a, b in zip(moved, model.get_weights(), strict=True):
        # A softmax over places does not feel the bias that all places share. Its gradient is 0 but for rounding, and Adam makes steps of it.
        if not (name == "question_answerer" and a.shape == (2,)):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_several_steps_for_a_call(encoder):
    losses = {}
    for several in (1, 3):
        model, batches = build("text_classifier", encoder, "freeze", rows=64)
        head = model.get_layer("logits")
        head.set_weights([np.full(head.kernel.shape, 0.1, "float32"), np.zeros(2, "float32")])
        history = resumable_fit(model, batches, epochs=2, steps_per_execution=several, verbose=0).history
        losses[several] = history["loss"]
        assert int(model.optimizer.iterations.numpy()) == 16
    np.testing.assert_allclose(losses[1], losses[3], rtol=1e-5)
