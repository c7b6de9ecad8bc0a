"""The biLM's arithmetic against NumPy and against the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras.encoders.operations import lstm
from tl_keras.pretraining.bilm import sampled_softmax
from tl_keras.pretraining.bilm.model import Bilm, BilmShape, CharCnn, character_ids, word_bytes
from tl_keras.pretraining.bilm.sampled_softmax import (
    LazyAdam,
    Negatives,
    draw_negatives,
    sampled_softmax_losses,
    softmax_losses,
    total_softmax_loss,
)

pytestmark = pytest.mark.one_keras

SHAPE = BilmShape(vocabulary_size=20, width=4, tokens="words")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_lstm(x, kernel, bias, projection=None):
    """One text `[length, inputs]`, step by step."""
    cells = len(bias) // 4
    projection = np.eye(cells) if projection is None else projection
    h, c, states = np.zeros(projection.shape[1]), np.zeros(cells), []
    for step in x:
        i, j, f, o = np.split(np.concatenate([step, h]) @ kernel + bias, 4)
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
        h = (sigmoid(o) * np.tanh(c)) @ projection
        states.append(h)
    return np.array(states)


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def test_lstms_step_by_step_and_their_gradients():
    x, kernel, bias = random(2, 5, 3), random(3 + 4, 16), random(16)
    plain = lstm(*map(tf.constant, (x, kernel, bias))).numpy()
    np.testing.assert_allclose(plain, [numpy_lstm(text, kernel, bias) for text in x], atol=1e-5)
    narrow, projection = random(3 + 2, 16), random(4, 2)
    projected = lstm(*map(tf.constant, (x, narrow, bias, projection))).numpy()
    np.testing.assert_allclose(projected, [numpy_lstm(text, narrow, bias, projection) for text in x], atol=1e-5)
    # TensorFlow's own fused kernel, which has a gradient of its own
    values, weights = [tf.constant(v) for v in (x, kernel, bias)], random(2, 5, 4, seed=1)
    gradients = []
    for run in (lstm, block_lstm):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(run(*values) * weights)
        gradients.append(tape.gradient(total, values))
    for ours, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-4)
    for empty in ([0, 2, 3], [2, 0, 3]):
        assert lstm(tf.zeros(empty), tf.constant(kernel), tf.constant(bias)).shape == (*empty[:2], 4)


def block_lstm(x, kernel, bias):
    start, peephole = tf.zeros([x.shape[0], 4]), tf.zeros([4])
    states = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(x, out_type=tf.int64)[1], x=tf.transpose(x, [1, 0, 2]), cs_prev=start, h_prev=start, w=kernel,
        wci=peephole, wcf=peephole, wco=peephole, b=bias, forget_bias=1.0, cell_clip=-1.0, use_peephole=False,
    )  # fmt: skip
    return tf.transpose(states.h, [1, 0, 2])


def test_states_know_one_side_only_and_nothing_of_the_padding():
    model = Bilm(SHAPE, seed=1)
    lengths = tf.constant([5, 7])
    x = random(2, 7, 4)
    before = model.states(tf.constant(x), lengths)
    changed = x.copy()
    changed[0, 2] += 1.0
    after = model.states(tf.constant(changed), lengths)
    for (ahead, back), (ahead_after, back_after) in zip(before, after, strict=True):
        np.testing.assert_array_equal(ahead[0, :2], ahead_after[0, :2])
        np.testing.assert_array_equal(back[0, 3:5], back_after[0, 3:5])
        assert (np.abs(ahead[0, 2:5] - ahead_after[0, 2:5]).max(-1) > 1e-6).all()
        assert (np.abs(back[0, :3] - back_after[0, :3]).max(-1) > 1e-6).all()
        np.testing.assert_array_equal(ahead[1], ahead_after[1])
    noisy = x.copy()
    noisy[0, 5:] = 9.0
    alone = model.states(tf.constant(x[:1, :5]), lengths[:1])
    for padded in (before, model.states(tf.constant(noisy), lengths)):
        for ours, other in zip(alone, padded, strict=True):
            for direction in (0, 1):
                np.testing.assert_allclose(ours[direction][0], other[direction][0, :5], atol=1e-6)


@pytest.mark.parametrize("cells", [None, 6])
def test_losses_by_the_definition(cells):
    """Sum the log-likelihoods of both directions over one sentence, word by word, in NumPy."""
    model = Bilm(BilmShape(vocabulary_size=9, width=4, layers=3, cells=cells, tokens="words"), seed=2)
    model.softmax_bias.assign(random(9))
    ids, rare = np.array([0, 5, 2, 7, 1]), np.array([0, 5, 8, 7, 1])
    x = model.embeddings.numpy()[rare]
    expected = []
    for direction in (0, 1):
        order = slice(None, None, -1 if direction else 1)
        states = x[order]
        for layer in range(3):
            out = numpy_lstm(states, **{k: v.numpy() for k, v in model.lstms[2 * layer + direction].items()})
            states = states + out if layer else out
        logits = states[:-1] @ model.softmax_weights.numpy().T + model.softmax_bias.numpy()
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected.append(-log_p[np.arange(4), ids[order][1:]])
    padded = tf.constant([[*ids, 1, 1]])
    vectors = tf.gather(model.embeddings, [[*rare, 3, 3]])
    lengths = tf.constant([5])
    directions = model.predictions(model.states(vectors, lengths)[-1], padded, lengths)
    np.testing.assert_allclose(model.losses(directions), [e.mean() for e in expected], rtol=1e-5)
    np.testing.assert_allclose(model.total_losses(directions), [e.sum() for e in expected], rtol=1e-5)


def test_sampled_softmax_is_tensorflows_with_the_same_candidates():
    hidden, weights, bias = random(6, 4), tf.Variable(random(30, 4)), tf.Variable(random(30))
    targets = np.array([0, 3, 29, 7, 3, 12], "int32")
    negatives = draw_negatives(np.random.default_rng(0), 8, 30)
    assert set(targets) & set(negatives.ids), "one that is target and drawn, so that it must be left out"
    ours = sampled_softmax_losses(tf.constant(hidden), tf.constant(targets), negatives, weights, bias)
    # TensorFlow's lowers logits by the logarithm of the counts it is given; the target's stays as it is.
    candidates = (negatives.ids.astype("int64"), np.ones((6, 1), "float32"), np.exp(-negatives.offsets))
    theirs = tf.nn.sampled_softmax_loss(
        weights, bias, targets[:, None].astype("int64"), hidden, len(negatives.ids), 30, sampled_values=candidates
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_sampled_softmax_estimates_the_full_one():
    """With many draws, what is drawn stands for all words; and its gradient touches only the rows that were used."""
    hidden, weights, bias = tf.constant(random(5, 4)), tf.Variable(random(12, 4)), tf.Variable(random(12))
    targets = tf.constant([1, 4, 11, 0, 6])
    many = draw_negatives(np.random.default_rng(1), 200_000, 12)
    full = softmax_losses(hidden, targets, weights, bias)
    np.testing.assert_allclose(sampled_softmax_losses(hidden, targets, many, weights, bias), full, atol=0.02)
    with tf.GradientTape() as tape:
        few = sampled_softmax_losses(
            hidden, targets, Negatives(np.array([2], "int32"), np.zeros(1, "float32")), weights, bias
        )
    assert set(tape.gradient(few, weights).indices.numpy()) == {0, 1, 2, 4, 6, 11}


def test_the_full_softmax_in_parts(monkeypatch):
    hidden, weights, bias = tf.constant(random(7, 4)), tf.Variable(random(12, 4)), tf.Variable(random(12))
    targets = tf.range(7)
    whole = tf.reduce_sum(softmax_losses(hidden, targets, weights, bias))
    monkeypatch.setattr(sampled_softmax, "MOST_LOGITS", 36)
    np.testing.assert_allclose(total_softmax_loss(hidden, targets, weights, bias), whole, rtol=1e-5)
    assert float(total_softmax_loss(hidden[:0], targets[:0], weights, bias)) == 0.0


def test_a_word_by_its_characters():
    """Filters, maximum, highway and projection in NumPy; a batch's longest word changes nothing."""
    cnn = CharCnn(3, 2, ((1, 2), (3, 2)), 1, np.random.default_rng(0))
    for variable in cnn.trainable_variables:
        variable.assign(random(*variable.shape))
    ids = character_ids(word_bytes(tf.constant(["ab", "영화"]), 9))
    assert ids.numpy().tolist()[0] == [256, 97, 98, 257, 0, 0, 0, 0, 0]
    assert ids.numpy().tolist()[1] == [256, *"영화".encode(), 257, 0]
    x = np.zeros((6, 2))
    x[:4] = cnn.characters.numpy()[[256, 97, 98, 257]]
    found = []
    for kernel, bias in zip(cnn.kernels, cnn.biases, strict=True):
        size = kernel.shape[0]
        values = [np.einsum("sc,scn->n", x[place : place + size], kernel.numpy()) for place in range(4)]
        found.append(np.maximum(np.max(values, axis=0) + bias.numpy(), 0))
    x = np.concatenate(found)
    w = {name: value.numpy() for name, value in cnn.highways[0].items()}
    gate = sigmoid(x @ w["gate_kernel"] + w["gate_bias"])
    x = gate * np.maximum(x @ w["transform_kernel"] + w["transform_bias"], 0) + (1 - gate) * x
    np.testing.assert_allclose(cnn(ids)[0], x @ cnn.kernel.numpy() + cnn.bias.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cnn(ids[:1, :4])[0], cnn(ids)[0], atol=1e-6)


def test_adam_moves_used_rows_by_its_formula():
    table, vector = tf.Variable(np.ones((3, 2), "float32")), tf.Variable([1.0, -1.0])
    optimizer = LazyAdam([table, vector], clip_norm=2.0)
    m, v, rows = np.zeros((3, 2)), np.zeros((3, 2)), np.ones((3, 2))
    m2, v2, dense = np.zeros(2), np.zeros(2), np.array([1.0, -1.0])
    for step, used in enumerate(([0, 0], [2, 0], [2, 2]), start=1):
        g = np.zeros((3, 2))
        np.add.at(g, used, np.array([[1.0, 2.0], [3.0, -1.0]]))
        d = np.array([0.5, -0.25]) * step
        norm = np.sqrt((g**2).sum() + (d**2).sum())
        slices = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, -1.0]]), tf.constant(used), tf.constant([3, 2]))
        assert float(optimizer.apply([slices, tf.constant(d, tf.float32)], 0.1)) == pytest.approx(norm, rel=1e-5)
        g, d = g * min(1, 2 / norm), d * min(1, 2 / norm)
        touched = sorted(set(used))
        m[touched], v[touched] = 0.9 * m[touched] + 0.1 * g[touched], 0.999 * v[touched] + 0.001 * g[touched] ** 2
        m2, v2 = 0.9 * m2 + 0.1 * d, 0.999 * v2 + 0.001 * d**2
        rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        rows[touched] -= rate * m[touched] / (np.sqrt(v[touched]) + 1e-8)
        dense -= rate * m2 / (np.sqrt(v2) + 1e-8)
        np.testing.assert_allclose(table, rows, rtol=1e-4)
        np.testing.assert_allclose(vector, dense, rtol=1e-4)
    assert (table.numpy()[1] == 1.0).all()
    assert len(optimizer.variables) == 5
