"""A BERT with its two heads, masked words and next sentences, and one step of its training."""

from __future__ import annotations

import keras
import keras_hub
import numpy as np
from keras import ops

from tl_keras.errors import UserError
from tl_keras.pretraining.batches import Batch
from tl_keras.pretraining.loop import KerasModelLoop
from tl_keras.pretraining.run_files import Means


def gelu_approximate(x):
    """The tanh form of gelu, the activation of KerasHub's BERT blocks and of the published BERT code."""
    return keras.activations.gelu(x, approximate=True)


def gelu_exact(x):
    """Gelu by the error function, as in checkpoints that come from PyTorch."""
    return keras.activations.gelu(x, approximate=False)


ACTIVATIONS = {
    "gelu_approximate": gelu_approximate,
    "gelu": gelu_exact,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
    "tanh": keras.activations.tanh,
}


def _initializer():
    return keras.initializers.TruncatedNormal(stddev=0.02)


def build_backbone(
    vocabulary_size: int,
    layers: int = 4,
    width: int = 256,
    heads: int | None = None,
    intermediate: int | None = None,
    max_positions: int = 512,
    segments: int = 2,
    dropout: float = 0.0,
    activation: str = "gelu_approximate",
    precision: str = "float32",
    epsilon: float = 1e-12,
) -> keras.Model:
    """Build a `keras_hub.models.BertBackbone` with random weights.

    Args:
        vocabulary_size: Tokens.
        layers: Transformer blocks.
        width: Width of the hidden states.
        heads: Attention heads; by default one for every 64 units of width, at least one.
        intermediate: Width of the feed-forward layer; by default 4 x `width`.
        max_positions: Longest sequence, in tokens.
        segments: Kinds of segment ids.
        dropout: Fraction of dropped units, during pre-training only.
        activation: Of the feed-forward layers, a key of `ACTIVATIONS`.
        precision: `float32`, or `bfloat16` for matrix products in bfloat16 on float32 weights.
        epsilon: Of the layer normalisations.

    Returns:
        The backbone.

    Raises:
        UserError: `width` cannot be divided among the heads.
    """
    heads = heads or max(width // 64, 1)
    if width % heads:
        raise UserError(f"--width {width} cannot be divided among {heads} heads")
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=vocabulary_size,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=intermediate or 4 * width,
        dropout=dropout,
        max_sequence_length=max_positions,
        num_segments=segments,
        dtype="mixed_bfloat16" if precision == "bfloat16" else precision,
    )
    set_activation(backbone, activation)
    _set_epsilon(backbone, epsilon)
    return backbone


def set_activation(backbone: keras.Model, activation: str) -> None:
    """Give all feed-forward layers an activation, by its key in `ACTIVATIONS`."""
    for block in backbone.transformer_layers:
        block._feedforward_intermediate_dense.activation = ACTIVATIONS[activation]


def _set_epsilon(backbone: keras.Model, epsilon: float) -> None:
    # KerasHub's BERT takes no other than 1e-12; RoBERTa and XLM-R were trained with 1e-5.
    norms = [backbone.embeddings_layer_norm]
    for block in backbone.transformer_layers:
        block.layer_norm_epsilon = epsilon
        norms += [block._self_attention_layer_norm, block._feedforward_layer_norm]
    for norm in norms:
        norm.epsilon = epsilon


def backbone_shape(backbone: keras.Model) -> dict:
    """The arguments with which `build_backbone` makes a backbone of this shape."""
    activation = backbone.transformer_layers[0]._feedforward_intermediate_dense.activation
    return {
        "vocabulary_size": backbone.vocabulary_size,
        "layers": backbone.num_layers,
        "width": backbone.hidden_dim,
        "heads": backbone.num_heads,
        "intermediate": backbone.intermediate_dim,
        "max_positions": backbone.max_sequence_length,
        "segments": backbone.num_segments,
        "epsilon": backbone.transformer_layers[0].layer_norm_epsilon,
        "activation": next(name for name, function in ACTIVATIONS.items() if function is activation),
    }


class BertPretrainer(keras.Model):
    """A BERT backbone with the masked-language-model head and the next-sentence head.

    Inputs -> labels: a `Batch` gives both. The masked tokens of all rows are gathered into one list, so the large
    matrix product with the vocabulary is done for them alone. Rows without a sentence pair have weight 0 in the
    next-sentence loss.

    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1 and appendix A.2; the heads follow
    https://github.com/google-research/bert/blob/master/run_pretraining.py.

    Attributes:
        backbone: The `BertBackbone`.
        mlm_head: `keras_hub.layers.MaskedLMHead`, its output matrix tied to the token embeddings.
        nsp_head: Dense layer with two outputs on the pooled output: 0 = B follows A, 1 = B is from another document.
    """

    def __init__(self, backbone: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.backbone = backbone
        self.mlm_head = keras_hub.layers.MaskedLMHead(
            token_embedding=backbone.token_embedding,
            intermediate_activation=backbone.transformer_layers[0]._feedforward_intermediate_dense.activation,
            layer_norm_epsilon=backbone.transformer_layers[0].layer_norm_epsilon,
            kernel_initializer=_initializer(),
            dtype=backbone.dtype_policy,
            name="mlm_head",
        )
        self.nsp_head = keras.layers.Dense(
            2, kernel_initializer=_initializer(), dtype=backbone.dtype_policy, name="nsp_head"
        )
        width = backbone.hidden_dim
        self.mlm_head.build((None, None, width), (None, None))
        self.nsp_head.build((None, width))
        self.trackers = {
            name: keras.metrics.Mean(name=name) for name in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")
        }
        self.built = True

    @property
    def metrics(self):
        """Means since the last batch began."""
        return list(self.trackers.values())

    def train_on_batch(self, *args, **kwargs):
        """As in `keras.Model`; returns the figures of this batch alone."""
        # Early versions of Keras 3 (3.10 is one) go on averaging from batch to batch, later ones reset.
        self.reset_metrics()
        return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """As in `keras.Model`; returns the figures of this batch alone."""
        self.reset_metrics()
        return super().test_on_batch(*args, **kwargs)

    def call(self, inputs, training=False):
        """Both heads' logits: `mlm` [masked, vocabulary] and `nsp` [rows, 2]."""
        outputs = self.backbone(
            {key: inputs[key] for key in ("token_ids", "segment_ids", "padding_mask")}, training=training
        )
        width = self.backbone.hidden_dim
        flat = ops.reshape(outputs["sequence_output"], (1, -1, width))
        mlm = self.mlm_head(flat, mask_positions=ops.expand_dims(inputs["masked_positions"], 0))
        return {"mlm": ops.squeeze(mlm, 0), "nsp": self.nsp_head(outputs["pooled_output"])}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean cross-entropy over the masked tokens plus mean cross-entropy over the sentence pairs."""
        total = 0.0
        for head in ("mlm", "nsp"):
            labels, weights = y[head], ops.cast(y[f"{head}_weights"], "float32")
            losses, right = cross_entropy(y_pred[head], labels)
            count = ops.sum(weights)
            loss = ops.sum(losses * weights) / ops.maximum(count, 1.0)
            self.trackers[f"{head}_loss"].update_state(loss, sample_weight=count)
            self.trackers[f"{head}_accuracy"].update_state(right, sample_weight=weights)
            total = total + loss
        return total


def cross_entropy(logits, labels):
    """Cross-entropy of each row, and whether the highest logit is the label's.

    Args:
        logits: float `[n, classes]`.
        labels: int `[n]`.

    Returns:
        Two float32 tensors `[n]`: `logsumexp(logits) - logits[label]`, and 1.0 where the prediction is right.
    """
    logits = ops.cast(logits, "float32")
    chosen = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(labels, 1), axis=1), 1)
    highest = ops.max(logits, axis=1)
    losses = ops.logsumexp(logits, axis=1) - chosen
    return losses, ops.cast(chosen >= highest, "float32")


def as_arrays(batch: Batch) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A batch as the `(x, y)` that `BertPretrainer.train_on_batch` takes."""
    x = {key: getattr(batch, key) for key in ("token_ids", "segment_ids", "padding_mask", "masked_positions")}
    y = {
        "mlm": batch.mlm_labels,
        "mlm_weights": batch.mlm_weights,
        "nsp": batch.nsp_labels,
        "nsp_weights": batch.nsp_weights,
    }
    return x, y


def flops_per_token(model: BertPretrainer, masked_fraction: float) -> float:
    """Training FLOPs for each token: 6 x the parameters it passes through.

    The lookup tables cost nothing; the masked-LM head counts for the masked tokens only.

    Source: Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1 (2 forward, 4 backward).
    """
    body = sum(int(np.prod(v.shape)) for layer in model.backbone.transformer_layers for v in layer.weights)
    table = int(np.prod(model.backbone.token_embedding.embeddings.shape))
    head = table + sum(int(np.prod(v.shape)) for v in model.mlm_head._intermediate_dense.weights)
    return 6.0 * (body + masked_fraction * head)


MEASURES = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")


class Trainer(KerasModelLoop):
    """Trains a `BertPretrainer` on a `BatchMaker`'s batches."""

    measures = heldout_measures = MEASURES

    def train_on(self, batch, rate):
        """Take one step."""
        self.model.optimizer.learning_rate = rate
        x, y = as_arrays(batch)
        _take_in(self.means, self.model.train_on_batch(x, y, return_dict=True), y)
        return batch.tokens

    def measure_heldout(self, limit=None):
        """Losses and accuracies on the held-out documents, with the same masks each time."""
        means = Means()
        for batch in self.heldout.once(self.schedule.longest, limit):
            x, y = as_arrays(batch)
            _take_in(means, self.model.test_on_batch(x, y, return_dict=True), y)
        return means.values()


def _take_in(means: Means, measured: dict, labels: dict) -> None:
    """Count the figures of one batch by the tokens, or pairs, that they were taken over."""
    for name in MEASURES:
        means.add(name, measured[name], float(labels[f"{name[:3]}_weights"].sum()))
