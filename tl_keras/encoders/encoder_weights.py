"""What a BERT-like encoder is made of: its weights under TF Hub's names, taken from KerasHub's layers or from a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tl_keras.errors import UserError

MLM_HEAD = "bert/cls/predictions"
"""What the names of a masked-LM head's weights begin with, as in BERT's own checkpoints."""
RELATIVE = "relative_attention_bias/embeddings"
"""The table of relative positions, `[buckets, heads]`, of networks that have one (MPNet)."""


def gelu(x):
    """The exact gelu, in the form that TensorFlow computes together with the matrix product before it (as of 2.21; not that of `tf.nn`).

    Args:
        x: float `tf.Tensor`.

    Example:
        >>> import tensorflow as tf
        >>> [round(float(y), 4) for y in gelu(tf.constant([-1.0, 0.0, 2.0]))]
        [-0.1587, 0.0, 1.9545]
    """
    import tensorflow as tf

    return x * (0.5 * (1.0 + tf.math.erf(x * 0.5**0.5)))


@dataclass
class EncoderWeights:
    """What a BERT-like encoder is made of, whichever library it came from.

    Attributes:
        arrays: float32 weights by their TF Hub variable name, in the order of the network.
        num_layers: transformer blocks.
        num_heads: attention heads of each block.
        dropout: probability, used after the embeddings and after both halves of a block.
        attention_dropout: probability, used on the attention weights.
        epsilon: of the layer normalisations.
        activation: of the feed-forward layers; takes and returns a `tf.Tensor`.
    """

    arrays: dict[str, np.ndarray] = field(repr=False)
    num_layers: int
    num_heads: int
    dropout: float
    attention_dropout: float
    epsilon: float
    activation: Callable

    @property
    def vocabulary_size(self) -> int:
        """Rows of the word embedding."""
        return self.arrays["word_embeddings/embeddings"].shape[0]

    @property
    def max_length(self) -> int:
        """Positions the encoder knows: the longest input."""
        return self.arrays["position_embedding/embeddings"].shape[0]

    @property
    def width(self) -> int:
        """Width of the outputs."""
        return self.arrays[f"transformer/layer_{self.num_layers - 1}/output_layer_norm/gamma"].shape[0]


@dataclass
class MlmWeights:
    """The masked-LM head: a dense layer, a layer normalisation and a bias over the vocabulary."""

    arrays: dict[str, np.ndarray] = field(repr=False)
    epsilon: float
    activation: Callable


def read_backbone(backbone) -> EncoderWeights:
    """Take the weights out of a KerasHub backbone.

    Args:
        backbone: a `BertBackbone`, or one made of the same blocks (`DistilBertBackbone`, `ElectraBackbone`,
            `RobertaBackbone`): embeddings, post-norm `TransformerEncoder` blocks, and perhaps a pooler.

    Returns:
        The weights under TF Hub's names. Without segment embeddings in the backbone there are none here.

    Raises:
        UserError: the backbone is made of other blocks.
    """
    blocks = getattr(backbone, "transformer_layers", None)
    embeddings = getattr(backbone, "embeddings", None)
    position = getattr(backbone, "position_embedding", None) or getattr(embeddings, "position_embedding", None)
    needed = [blocks, position, getattr(backbone, "token_embedding", None)]
    if not all(needed) or not all(hasattr(block, "_feedforward_intermediate_dense") for block in blocks):
        raise UserError(
            f"{type(backbone).__name__} is not built like BERT, so it can't be written as an encoder pair; "
            "KerasHub's BertBackbone, DistilBertBackbone, ElectraBackbone and RobertaBackbone can."
        )
    arrays = {
        "word_embeddings/embeddings": backbone.token_embedding.embeddings,
        "position_embedding/embeddings": position.position_embeddings,
    }
    if hasattr(backbone, "segment_embedding"):
        arrays["type_embeddings/embeddings"] = backbone.segment_embedding.embeddings
    arrays |= _norm("embeddings/layer_norm", backbone.embeddings_layer_norm)
    if hasattr(backbone, "embeddings_projection"):
        arrays |= _dense("embedding_projection", backbone.embeddings_projection)
    for i, block in enumerate(blocks):
        name, attention = f"transformer/layer_{i}", block._self_attention_layer
        if block.normalize_first:
            raise UserError(f"{type(backbone).__name__} normalises before each block; BERT does so after it.")
        for part in ("query", "key", "value"):
            arrays |= _dense(f"{name}/self_attention/{part}", _attention_dense(attention, part))
        arrays |= _dense(f"{name}/self_attention/attention_output", _attention_dense(attention, "output"))
        arrays |= _norm(f"{name}/self_attention_layer_norm", block._self_attention_layer_norm)
        arrays |= _dense(f"{name}/intermediate", block._feedforward_intermediate_dense)
        arrays |= _dense(f"{name}/output", block._feedforward_output_dense)
        arrays |= _norm(f"{name}/output_layer_norm", block._feedforward_layer_norm)
    if hasattr(backbone, "pooled_dense"):
        arrays |= _dense("pooler_transform", backbone.pooled_dense)
    return EncoderWeights(
        arrays={name: _float32(variable) for name, variable in arrays.items()},
        num_layers=len(blocks),
        num_heads=backbone.num_heads,
        dropout=float(backbone.dropout),
        attention_dropout=float(blocks[0].dropout),
        epsilon=float(blocks[0].layer_norm_epsilon),
        activation=blocks[0]._feedforward_intermediate_dense.activation,
    )


def read_mlm_head(head) -> MlmWeights:
    """Take the weights out of a KerasHub `MaskedLMHead` that is tied to the word embedding.

    Args:
        head: a built `keras_hub.layers.MaskedLMHead(token_embedding=backbone.token_embedding, ...)`.

    Raises:
        UserError: the head has its own output matrix, or was never built.
    """
    if getattr(head, "token_embedding", None) is None or not head.built:
        raise UserError("mlm_head must be a built MaskedLMHead tied to the encoder by token_embedding=.")
    arrays = _dense(f"{MLM_HEAD}/transform/dense", head._intermediate_dense)
    arrays |= _norm(f"{MLM_HEAD}/transform/LayerNorm", head._intermediate_layer_norm)
    arrays[f"{MLM_HEAD}/output_bias/bias"] = head._bias
    return MlmWeights(
        arrays={name: _float32(variable) for name, variable in arrays.items()},
        epsilon=float(head.layer_norm_epsilon),
        activation=head.intermediate_activation,
    )


def _attention_dense(attention, part: str):
    # Older releases of Keras 3 have the private names only.
    return getattr(attention, f"{part}_dense" if hasattr(attention, f"{part}_dense") else f"_{part}_dense")


def _dense(name: str, layer) -> dict:
    return {f"{name}/kernel": layer.kernel, f"{name}/bias": layer.bias}


def _norm(name: str, layer) -> dict:
    return {f"{name}/gamma": layer.gamma, f"{name}/beta": layer.beta}


def _float32(variable) -> np.ndarray:
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable, dtype=np.float32)
