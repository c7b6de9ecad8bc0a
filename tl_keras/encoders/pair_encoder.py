"""The encoder half of a pair: a BERT forward pass in plain TensorFlow, in the shape TF Hub publishes; written, and read back as weights.

KerasHub's layers would trace too, but their variables carry Keras's own names and their dropout drags seed-generator
states into the file. Written out, the pass keeps TF Hub's variable names (`transformer/layer_0/self_attention/...`), by
which blocks can be told apart, holds nothing but the weights, and is the same in both Kerases.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import MLM_HEAD, RELATIVE, EncoderWeights, MlmWeights, gelu
from tl_keras.encoders.operations import Dropout, dense, layer_norm, masked_word_logits, relative_scores
from tl_keras.errors import UserError

_MASKED_SCORE = -1e9  # added to the score of a padded position; its softmax weight is then exactly 0 in float32
_INPUT_NAMES = ("input_word_ids", "input_mask", "input_type_ids")


class EncoderModule(tf.Module):
    """The object that is saved: `encoder(inputs, training=False)`, with the attributes TF Hub's encoders have.

    Inputs -> outputs: int32 `input_word_ids`, `input_mask`, `input_type_ids` `[batch, length]` -> float32
    `pooled_output` and `default` `[batch, width]`, `sequence_output` `[batch, length, width]`, and `encoder_outputs`,
    the list of every block's output. Without a pooler `pooled_output` is the last block's output at `[CLS]`.

    Args:
        weights: of the network.
        assets: the attribute's name and the path of each file that is copied into the SavedModel: the vocabulary.
        lower_case: whether the vocabulary is an uncased one.
        mlm: weights of a masked-LM head, or none.
    """

    # Properties of tf.Module that are not saved; TF Hub's interface wants them as attributes of the loaded object.
    variables = None
    trainable_variables = None

    def __init__(
        self, weights: EncoderWeights, assets: dict[str, str], lower_case: bool, mlm: MlmWeights | None = None
    ):
        super().__init__(name="encoder")
        self._config = weights
        self._v = {name: tf.Variable(array, name=name) for name, array in weights.arrays.items()}
        self.variables = list(self._v.values())
        self.trainable_variables = list(self._v.values())
        self.regularization_losses = []
        for name, path in assets.items():
            setattr(self, name, tf.saved_model.Asset(path))
        self.do_lower_case = tf.Variable(lower_case, trainable=False, dtype=tf.bool, name="do_lower_case")
        if mlm is not None:
            self.mlm = _MlmModule(self, mlm)

    @tf.function(autograph=False)
    def __call__(self, inputs, training=False):
        """Run the network; `training` (a Python bool) turns dropout on."""
        outputs = self._forward(inputs, training)
        return {**outputs, "default": outputs["pooled_output"]}

    def input_spec(self) -> dict[str, tf.TensorSpec]:
        """The specification of the inputs: any batch, any length."""
        return {name: tf.TensorSpec([None, None], tf.int32, name) for name in _INPUT_NAMES}

    def trace(self) -> dict[str, Callable]:
        """Trace every way to call the object, and return the signatures to save."""
        for training in (True, False):
            self.__call__.get_concrete_function(self.input_spec(), training=training)
        if hasattr(self, "mlm"):
            self.mlm.trace()

        @tf.function(autograph=False, input_signature=[self.input_spec()[name] for name in _INPUT_NAMES])
        def serving_default(input_word_ids, input_mask, input_type_ids):
            ids = dict(zip(_INPUT_NAMES, (input_word_ids, input_mask, input_type_ids), strict=True))
            outputs = self(ids, training=False)
            return {name: outputs[name] for name in ("pooled_output", "sequence_output")}

        return {"serving_default": serving_default}

    def _forward(self, inputs: dict[str, tf.Tensor], training: bool) -> dict:
        config, dropout = self._config, Dropout() if training else None
        ids = tf.ensure_shape(inputs["input_word_ids"], [None, None])
        x = tf.gather(self._v["word_embeddings/embeddings"], ids)
        x += self._v["position_embedding/embeddings"][: tf.shape(ids)[1]]
        if "type_embeddings/embeddings" in self._v:
            x += tf.gather(self._v["type_embeddings/embeddings"], inputs["input_type_ids"])
        x = self._dropout(self._norm("embeddings/layer_norm", x), dropout)
        if "embedding_projection/kernel" in self._v:
            x = dense(self._v, "embedding_projection", x)
        mask = tf.cast(inputs["input_mask"], x.dtype)[:, tf.newaxis, tf.newaxis, :]
        added_scores = (1.0 - mask) * _MASKED_SCORE
        if RELATIVE in self._v:
            added_scores += relative_scores(self._v[RELATIVE], tf.shape(ids)[1])
        blocks = []
        for i in range(config.num_layers):
            x = self._block(f"transformer/layer_{i}", x, added_scores, dropout)
            blocks.append(x)
        pooled = x[:, 0]
        if "pooler_transform/kernel" in self._v:
            pooled = tf.tanh(dense(self._v, "pooler_transform", pooled))
        return {"pooled_output": pooled, "sequence_output": x, "encoder_outputs": blocks}

    def _block(self, name: str, x: tf.Tensor, added_scores: tf.Tensor, dropout: Dropout | None):
        attended = self._attention(f"{name}/self_attention", x, added_scores, dropout)
        x = self._norm(f"{name}/self_attention_layer_norm", x + self._dropout(attended, dropout))
        hidden = dense(self._v, f"{name}/intermediate", x, self._config.activation)
        output = self._dropout(dense(self._v, f"{name}/output", hidden), dropout)
        return self._norm(f"{name}/output_layer_norm", x + output)

    def _attention(self, name: str, x: tf.Tensor, added_scores: tf.Tensor, dropout: Dropout | None):
        batch, length, heads = tf.shape(x)[0], tf.shape(x)[1], self._config.num_heads
        size = x.shape[-1] // heads

        def split(part: str) -> tf.Tensor:  # [batch, heads, length, size]
            return tf.transpose(
                tf.reshape(dense(self._v, f"{name}/{part}", x), [batch, length, heads, size]), [0, 2, 1, 3]
            )

        scores = tf.matmul(split("query") * size**-0.5, split("key"), transpose_b=True) + added_scores
        weights = self._dropout(tf.nn.softmax(scores), dropout, self._config.attention_dropout)
        mixed = tf.transpose(tf.matmul(weights, split("value")), [0, 2, 1, 3])
        return dense(self._v, f"{name}/attention_output", tf.reshape(mixed, [batch, length, heads * size]))

    def _norm(self, name: str, x: tf.Tensor) -> tf.Tensor:
        return layer_norm(self._v, name, x, self._config.epsilon)

    def _dropout(self, x: tf.Tensor, dropout: Dropout | None, rate: float | None = None) -> tf.Tensor:
        rate = self._config.dropout if rate is None else rate
        return dropout(x, rate) if dropout is not None and rate else x


class Network(EncoderModule):
    """An `EncoderModule` without what makes it a SavedModel of TF Hub's form.

    Args:
        weights: its values to begin with.

    Attributes:
        arrays: its variables by the names of `EncoderWeights.arrays`.
    """

    def __init__(self, weights: EncoderWeights):
        tf.Module.__init__(self, name="network")
        self._config = weights
        self._v = {name: tf.Variable(array, name=name) for name, array in weights.arrays.items()}

    @property
    def arrays(self) -> dict[str, tf.Variable]:
        """Its variables by name."""
        return self._v

    def forward(self, inputs: dict[str, tf.Tensor]) -> dict:
        """Run it without dropout; inputs and outputs as of `EncoderModule`."""
        return self._forward(inputs, False)


class _MlmModule(tf.Module):
    """The encoder with its masked-LM head, as Model Garden exports it: `encoder.mlm(inputs, training=False)`."""

    variables = None
    trainable_variables = None

    def __init__(self, encoder: EncoderModule, weights: MlmWeights):
        super().__init__(name="mlm")
        head = {name: tf.Variable(array, name=name) for name, array in weights.arrays.items()}
        encoder._v = {**encoder._v, **head}
        self._encoder = encoder
        self._config = weights
        self.variables = [*encoder.variables, *head.values()]
        self.trainable_variables = [*encoder.trainable_variables, *head.values()]
        self.regularization_losses = []

    @tf.function(autograph=False)
    def __call__(self, inputs, training=False):
        """Score the vocabulary at `masked_lm_positions` (int32 `[batch, predictions]`)."""
        encoder = self._encoder
        outputs = encoder._forward(inputs, training)
        masked = tf.gather(outputs["sequence_output"], inputs["masked_lm_positions"], batch_dims=1)
        logits = masked_word_logits(encoder._v, masked, self._config.activation, self._config.epsilon)
        return {**outputs, "mlm_logits": logits}

    def trace(self) -> None:
        """Trace the call with and without dropout."""
        spec = {**self._encoder.input_spec(), "masked_lm_positions": tf.TensorSpec([None, None], tf.int32)}
        for training in (True, False):
            self.__call__.get_concrete_function(spec, training=training)


ACTIVATIONS: dict[str, Callable] = {
    "gelu": gelu,
    "gelu_approximate": functools.partial(tf.nn.gelu, approximate=True),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "tanh": tf.nn.tanh,
}
"""Of feed-forward layers, by the names that `info.json` has for them."""
_EPSILONS = (1e-12, 1e-5)
_SAME = 1e-6  # no other activation or epsilon comes so near


def read_pair_weights(encoder_folder: str | Path) -> tuple[EncoderWeights, str, MlmWeights | None]:
    """Read the network of an encoder pair.

    A SavedModel does not say which activation and which epsilon it computes with, so that is found out by trying: the
    network is built again with each, and must give the encoder's own outputs.

    Args:
        encoder_folder: the encoder's SavedModel.

    Returns:
        The weights (with the dropout of BERT, 0.1), the activation's name in `ACTIVATIONS`, and the masked-LM head if
        there is one.

    Raises:
        UserError: it is not built like BERT.
    """
    loaded = tf.saved_model.load(str(encoder_folder))
    arrays = {variable.name.removesuffix(":0"): variable.numpy() for variable in loaded.trainable_variables}
    count = sum(name.endswith("/self_attention/query/kernel") for name in arrays)
    query = arrays.get("transformer/layer_0/self_attention/query/kernel")
    if not count or query is None or query.ndim != 3:
        raise UserError(
            f"{encoder_folder} is not built like BERT, or its weights are not named as in TF Hub's encoders, so its network cannot "
            "be built again; convert the checkpoint that it came from with `tl-keras convert` first."
        )
    head = {name: arrays.pop(name) for name in list(arrays) if name.startswith(MLM_HEAD)}
    weights = EncoderWeights(arrays, count, query.shape[1], 0.1, 0.1, _EPSILONS[0], ACTIVATIONS["gelu"])
    weights, activation = _fitted(weights, loaded, encoder_folder)
    if not head:
        module = getattr(loaded, "mlm", None)
        known = {v.name.removesuffix(":0"): v.numpy() for v in getattr(module, "variables", ())}
        head = {name: array for name, array in known.items() if name.startswith(MLM_HEAD)}
    return weights, activation, MlmWeights(head, weights.epsilon, weights.activation) if head else None


def _fitted(weights: EncoderWeights, loaded, folder) -> tuple[EncoderWeights, str]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, weights.vocabulary_size, (2, min(8, weights.max_length)), dtype=np.int32)
    feed = {"input_word_ids": ids, "input_mask": np.ones_like(ids), "input_type_ids": np.zeros_like(ids)}
    feed = {name: tf.constant(value) for name, value in feed.items()}
    wanted = loaded(feed, training=False)["sequence_output"]
    best, gap, name = weights, np.inf, ""
    for tried, activation in ACTIVATIONS.items():
        for epsilon in _EPSILONS:
            candidate = replace(weights, activation=activation, epsilon=epsilon)
            given = Network(candidate).forward(feed)["sequence_output"]
            distance = float(tf.reduce_max(tf.abs(given - wanted)))
            if distance < gap:
                best, gap, name = candidate, distance, tried
            if gap < _SAME:
                return best, name
    # The two forms of gelu differ by some thousandths; another architecture is off by whole units.
    if not gap < 1e-3:
        raise UserError(
            f"{folder}: built again as BERT its outputs differ by {gap:.2g}, so it is another architecture."
        )
    return best, name
