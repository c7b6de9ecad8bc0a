"""A Keras model of one of the builders, as the graphs of its predictor and of its export use it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tl_keras._keras import kept_with, keras, tf_variable
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of, modules_inside
from tl_keras.encoders.load import encoder_of
from tl_keras.text.preprocessor import trim

_GROUP_ROWS, _MOST_GROUPS = 16, 4


class ServedModel:
    """A Keras model as graphs of raw strings use it: traced once, for predicting and for exporting alike.

    It does not keep the model, which keeps it (see `kept_with`); a `Predictor` does.

    Args:
        model: of one of the builders.

    Attributes:
        head: what the task's predictor has to know: the layer with its labels or range, the width of a vector, the language model.
    """

    def __init__(self, model: keras.Model):
        self._model = weakref.ref(model)
        self.name = model.name
        self.head: Any = None
        self._made: dict = {}

    def __call__(self, inputs) -> tf.Tensor:
        """What the model gives for the encoder's inputs, in a graph."""
        return self._model()(inputs, training=False)

    @functools.cached_property
    def encoder(self) -> Encoder:
        """Tokenizes and packs."""
        return encoder_of(self._model())

    @property
    def takes_pairs(self) -> bool | None:
        """False where the encoder reads one text only; None where it reads two as well."""
        return False if self.encoder.takes_text else None

    @property
    def tells_passages_apart(self) -> bool:
        """Whether texts that are searched get another prompt than those that ask."""
        prompts = {} if self.encoder.takes_text else self.encoder.preprocessor.prompts
        return prompts.get("passage", "") != prompts.get("query", "")

    def once(self, name, make: Callable[[], Any]) -> Any:
        """What `make` gives, made when it is first asked for: tracing takes seconds."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def on_strings(self, *names: str, role: str = "query") -> Callable:
        """A graph: string `[batch]` for each name, read together -> what the model gives for them.

        Args:
            names: of the texts.
            role: which prompt is put before them; see `Preprocessor.tokenize`.
        """

        def make():
            inputs_of = self.encoder.string_inputs(role)
            return tf.function(
                lambda *texts: self._by_length(inputs_of(*texts)),
                input_signature=[tf.TensorSpec([None], tf.string, name) for name in names],
                autograph=False,
            )

        return self.once((role, *names), make)

    def _by_length(self, inputs) -> tf.Tensor:
        """What the model gives for the encoder's inputs, in a graph: large batches in groups of texts of like length.

        In a batch as it comes, most of the work would go into padding: one long text makes all others long.
        """
        outputs = self._model().outputs
        if len(outputs) != 1 or not isinstance(inputs, dict) or "input_mask" not in inputs:
            return self(inputs)
        lengths = tf.reduce_sum(inputs["input_mask"], axis=1)
        order, count = tf.argsort(lengths), tf.shape(lengths)[0]
        # Few groups, because a GPU computes a large batch nearly as fast as a small one.
        size = tf.maximum(_GROUP_ROWS, -(-count // _MOST_GROUPS))
        shape = tf.TensorShape([None, *outputs[0].shape[1:]])

        def group(start, done):
            rows = order[start : start + size]
            found = self(trim({name: tf.gather(value, rows) for name, value in inputs.items()}))
            return start + size, tf.concat([done, tf.ensure_shape(found, shape)], axis=0)

        nothing = tf.zeros([0, *shape[1:]], outputs[0].dtype)
        loop = [tf.TensorShape([]), shape]
        _, done = tf.while_loop(lambda start, _: start < count, group, [0, nothing], loop, parallel_iterations=1)
        return tf.gather(done, tf.math.invert_permutation(order))

    def module(self, name: str, offsets: bool = False) -> tf.Module:
        """A module that holds what the model's graphs need: tokenizer or table, vocabulary and weights.

        Args:
            name: of the module.
            offsets: whether they also need the tokenizer that tells places in the text.
        """
        model, root = self._model(), tf.Module(name=name)
        if self.encoder.takes_text:
            # Such a module carries its vocabulary table with it, which has to be tracked to be saved.
            root.encoder = encoder_layer_of(model).resolved_object
        else:
            root.preprocessor = self.encoder.preprocessor.module
        if offsets:
            root.offset_tokenizer = self.encoder.offset_tokenizer
        # The variables only, not the Keras model: both together would be stored twice.
        root.model_variables = [tf_variable(variable) for variable in model.variables]
        root.modules_inside = modules_inside(model)
        return root


served_model = kept_with(ServedModel)
"""The `ServedModel` of a Keras model."""
