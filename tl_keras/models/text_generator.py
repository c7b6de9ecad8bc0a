"""The Keras model of a causal language model that goes on learning."""

from __future__ import annotations

from tl_keras._keras import keras
from tl_keras.models.language_model import LanguageModel, register_generator
from tl_keras.models.transfer_model import TransferModel
from tl_keras.training.defaults import default_learning_rate
from tl_keras.training.optimizer import make_optimizer


def text_generator(language_model: LanguageModel, *, learning_rate: float | None = None) -> keras.Model:
    """A compiled model that goes on learning to predict the next token.

    Inputs -> labels: `language_model.batches(...)` gives both, and weights.

    Args:
        language_model: of `load_language_model`; it shares its weights with the model.
        learning_rate: the peak; by default one for fine-tuning, by the network's width.

    Returns:
        A `keras.Model`: token ids -> logits float `[batch, length, vocabulary]`. Export it with `export`, write with `generate`.
    """
    network = language_model.network
    model = TransferModel(network.input, network.output, name="text_generator")
    rate = learning_rate or default_learning_rate(network.backbone.hidden_dim, trainable=True)
    # Each token counts alike, whatever the padding around it.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(optimizer=make_optimizer(rate), loss=loss)
    register_generator(model, language_model)
    return model
