"""The model's losses against BERT written out in numpy: a slip of one line in the bookkeeping would show here."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("keras_hub")

from keras import ops  # noqa: E402

from tl_keras.errors import UserError  # noqa: E402
from tl_keras.pretraining.batches import BatchMaker, Place  # noqa: E402
from tl_keras.pretraining.bert_tasks import Masking  # noqa: E402
from tl_keras.pretraining.model import BertPretrainer, as_arrays, build_backbone, cross_entropy, flops_per_token  # noqa: E402
from tl_keras.pretraining.pair_start import named_variables  # noqa: E402
from tl_keras.pretraining.token_vectors import read_token_vectors, set_embeddings  # noqa: E402

pytestmark = pytest.mark.one_keras


def layer_norm(x, gamma, beta):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * gamma + beta


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def encode(w, ids, segments, mask):
    """Last block's output [rows, length, width], one row after the other and without its padding."""
    outputs = np.zeros((*ids.shape, w["word_embeddings/embeddings"].shape[1]))
    for row in range(len(ids)):
        n = int(mask[row].sum())
        x = w["word_embeddings/embeddings"][ids[row, :n]] + w["position_embedding/embeddings"][:n]
        x = x + w["type_embeddings/embeddings"][segments[row, :n]]
        x = layer_norm(x, w["embeddings/layer_norm/gamma"], w["embeddings/layer_norm/beta"])
        layer = 0
        while f"transformer/layer_{layer}/intermediate/kernel" in w:
            x = block(w, f"transformer/layer_{layer}", x)
            layer += 1
        outputs[row, :n] = x
    return outputs


def block(w, name, x):
    a = f"{name}/self_attention"
    q, k, v = (
        np.einsum("lw,whd->hld", x, w[f"{a}/{p}/kernel"]) + w[f"{a}/{p}/bias"][:, None]
        for p in ("query", "key", "value")
    )
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = np.einsum("hld,hdw->lw", weights @ v, w[f"{a}/attention_output/kernel"]) + w[f"{a}/attention_output/bias"]
    x = layer_norm(x + mixed, w[f"{a}_layer_norm/gamma"], w[f"{a}_layer_norm/beta"])
    hidden = gelu(x @ w[f"{name}/intermediate/kernel"] + w[f"{name}/intermediate/bias"])
    y = hidden @ w[f"{name}/output/kernel"] + w[f"{name}/output/bias"]
    return layer_norm(x + y, w[f"{name}/output_layer_norm/gamma"], w[f"{name}/output_layer_norm/beta"])


def log_softmax(x):
    return x - x.max(-1, keepdims=True) - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))


def losses(w, head, nsp, original, batch):
    """Both losses of a batch, from the definition.

    Args:
        w: backbone weights by TF Hub name.
        head: `dense_kernel`, `dense_bias`, `gamma`, `beta`, `bias` of the masked-LM head.
        nsp: `kernel`, `bias` of the next-sentence head.
        original: for each masked place (row, column) the token that stood there.
        batch: the masked batch.
    """
    x = encode(w, batch.token_ids, batch.segment_ids, batch.padding_mask)
    total = 0.0
    for (row, column), token in original.items():
        h = gelu(x[row, column] @ head["dense_kernel"] + head["dense_bias"])
        h = layer_norm(h, head["gamma"], head["beta"])
        total -= log_softmax(w["word_embeddings/embeddings"] @ h + head["bias"])[token]
    pooled = np.tanh(x[:, 0] @ w["pooler_transform/kernel"] + w["pooler_transform/bias"])
    scores = log_softmax(pooled @ nsp["kernel"] + nsp["bias"])
    pairs = [(row, label) for row, label in enumerate(batch.nsp_labels) if batch.nsp_weights[row]]
    next_loss = -sum(scores[row, label] for row, label in pairs) / len(pairs) if pairs else 0.0
    return total / len(original), next_loss


@pytest.fixture
def model(word_piece):
    keras.utils.set_random_seed(5)
    model = BertPretrainer(build_backbone(len(word_piece.vocabulary), layers=2, width=16, heads=2, max_positions=48))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # far from the initial zeros and ones, so that nothing cancels out
        variable.assign(ops.convert_to_numpy(variable) + rng.normal(0, 0.3, variable.shape))
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    return model


@pytest.fixture
def maker(tokens, word_piece):
    return BatchMaker(tokens.train, word_piece.special, len(word_piece.vocabulary), Masking(), token_budget=256)


def arrays_of(model):
    head = model.mlm_head
    parts = {
        "dense_kernel": head._intermediate_dense.kernel,
        "dense_bias": head._intermediate_dense.bias,
        "gamma": head._intermediate_layer_norm.gamma,
        "beta": head._intermediate_layer_norm.beta,
        "bias": head._bias,
    }
    nsp = {"kernel": model.nsp_head.kernel, "bias": model.nsp_head.bias}
    return [
        {name: ops.convert_to_numpy(variable).astype("float64") for name, variable in named.items()}
        for named in (named_variables(model.backbone), parts, nsp)
    ]


def test_both_losses_are_those_of_bert_written_out_in_numpy(model, maker, tokens, word_piece):
    cls, sep = word_piece.special.start, word_piece.special.end
    plans = maker.window_plans(Place(max_length=48))
    pairs = next(plan for plan in plans if (plan[1][:, 4] >= 0).any())
    singles = next(plan for plan in plans if (plan[1][:, 4] < 0).all())
    for length, rows in (pairs, singles):
        batch = maker.realise(length, rows, [0, 1])
        places = set(batch.masked_positions[batch.mlm_weights > 0].tolist())
        original = {}
        for row, (a0, a1, b0, b1, _) in enumerate(rows):
            second = [*tokens.train.tokens[b0:b1], sep] if b1 > b0 else []
            line = [cls, *tokens.train.tokens[a0:a1], sep, *second]
            assert batch.padding_mask[row].sum() == len(line)
            for column, token in enumerate(line):
                if row * length + column in places:
                    original[row, column] = int(token)
                else:
                    assert batch.token_ids[row, column] == token
        assert len(original) == len(places)
        weights = arrays_of(model)
        measured = model.test_on_batch(*as_arrays(batch), return_dict=True)
        expected = losses(*weights, original, batch)
        assert measured["mlm_loss"] == pytest.approx(expected[0], rel=1e-5)
        assert measured["nsp_loss"] == pytest.approx(expected[1], rel=1e-5)


def test_a_training_step_follows_the_gradient_of_that_loss(model, maker):
    length, rows = next(plan for plan in maker.window_plans(Place(max_length=48)) if (plan[1][:, 4] >= 0).any())
    x, y = as_arrays(maker.realise(length, rows, [0, 1]))

    def loss():
        measured = model.test_on_batch(x, y, return_dict=True)
        return float(measured["mlm_loss"]) + float(measured["nsp_loss"])

    kernel = model.backbone.transformer_layers[0]._self_attention_layer.query_dense.kernel
    before, step = ops.convert_to_numpy(kernel).copy(), 1e-2
    for index in ((3, 0, 2), (7, 1, 5)):
        numeric = []
        for sign in (1, -1):
            moved = before.copy()
            moved[index] += sign * step
            kernel.assign(moved)
            numeric.append(loss())
        kernel.assign(before)
        gradient = (numeric[0] - numeric[1]) / (2 * step)
        weights = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        model.train_on_batch(x, y)
        taken = (before - ops.convert_to_numpy(kernel))[index] / 0.1
        assert taken == pytest.approx(gradient, rel=0.05, abs=2e-4)
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


def test_cross_entropy_by_hand():
    loss, right = cross_entropy(ops.convert_to_tensor([[0.0, np.log(3.0)], [2.0, 2.0]]), ops.convert_to_tensor([1, 0]))
    assert ops.convert_to_numpy(loss).tolist() == pytest.approx([np.log(4 / 3), np.log(2)])
    assert ops.convert_to_numpy(right).tolist() == [1.0, 1.0]


def test_flops_by_hand(word_piece):
    model = BertPretrainer(build_backbone(100, layers=1, width=4, heads=2, intermediate=8))
    # Four attention matrices of 4x4 with bias, two feed-forward matrices, two layer norms; head: 4x4 with bias, 100x4.
    body = 4 * (16 + 4) + (32 + 8) + (32 + 4) + 4 * 4
    assert flops_per_token(model, 0.15) == pytest.approx(6 * (body + 0.15 * (20 + 400)))


def test_vectors_start_the_embeddings(tmp_path):
    backbone = build_backbone(4, layers=1, width=2, heads=1)
    before = ops.convert_to_numpy(backbone.token_embedding.embeddings).copy()
    (tmp_path / "v.txt").write_text("2 2\nc 3.0 -1.0\na 1.0 1.0\n", encoding="utf-8")
    vectors = read_token_vectors(tmp_path / "v.txt", ["a", "b", "c", "d"])
    assert set_embeddings(backbone, vectors, deviation=0.04) == 2
    after = ops.convert_to_numpy(backbone.token_embedding.embeddings)
    # The deviation of 1, 1, 3, -1 is sqrt(2).
    assert after[[0, 2]] == pytest.approx(np.asarray([[1, 1], [3, -1]]) * 0.04 / np.sqrt(2), rel=1e-5)
    assert (after[[1, 3]] == before[[1, 3]]).all()
    with pytest.raises(UserError, match="shape"):
        set_embeddings(backbone, np.zeros((4, 3)))
    (tmp_path / "bad.txt").write_text("nothing\n", encoding="utf-8")
    with pytest.raises(UserError, match="neither"):
        read_token_vectors(tmp_path / "bad.txt", ["a"])


OTHER = """
import sys
sys.modules["tensorflow"] = sys.modules["tensorflow_text"] = None  # as on a machine without TensorFlow
import numpy as np
from tl_keras.pretraining.model import BertPretrainer, build_backbone
from tl_keras.pretraining.checkpoint import restore_checkpoint
folder, vocabulary = sys.argv[1], int(sys.argv[2])
model = BertPretrainer(build_backbone(vocabulary, layers=2, width=16, heads=2, max_positions=48))
restore_checkpoint(folder, model, weights_only=True)
x = dict(np.load(folder + "/x.npz"))
outputs = model(x)
np.savez(folder + "/y.npz", **{name: np.asarray(value) for name, value in outputs.items()})
"""


def test_weights_move_between_backends_unchanged(model, maker, tmp_path, word_piece):
    pytest.importorskip("jax")
    from tl_keras.pretraining.checkpoint import save_checkpoint

    length, rows = next(plan for plan in maker.window_plans(Place(max_length=48)) if (plan[1][:, 4] >= 0).any())
    x, _ = as_arrays(maker.realise(length, rows, [0, 1]))
    save_checkpoint(tmp_path, model, {})
    np.savez(tmp_path / "x.npz", **x)
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", OTHER, str(tmp_path), str(len(word_piece.vocabulary))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    here = model(x)
    with np.load(tmp_path / "y.npz") as there:
        for name, value in here.items():
            assert there[name] == pytest.approx(ops.convert_to_numpy(value), abs=2e-5)
