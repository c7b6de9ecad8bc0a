"""The encoder as advice asks it: loaded once, never trained; its vectors, its blocks, its masked-LM head."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from tl_keras.data.examples import Examples
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of
from tl_keras.errors import UserError
from tl_keras.models.sentence_encoder import sentence_encoder
from tl_keras.models.text_vectors import TextVectors


class FrozenEncoder:
    """A loaded encoder whose outputs stay as they are.

    Args:
        encoder: from `load_encoder`.

    Attributes:
        pooling: how a text's vector is made: as the encoder's makers suggest, else the mean over the tokens.

    Raises:
        UserError: `seq_length` is more than the encoder has positions for.
    """

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        self.pooling = encoder.suggested.get("pooling", "mean")
        try:
            self.model = sentence_encoder(encoder, "freeze", pooling=self.pooling, normalize=False)
        except UserError as error:
            if "sequence_output" not in str(error):
                raise
            # A module that gives one vector for a text and no other.
            self.pooling = "cls"
            self.model = sentence_encoder(encoder, "freeze", pooling="cls", normalize=False)
        self.layer = encoder_layer_of(self.model)
        self._vectors = TextVectors(self.model, encoder)

    def vectors(self, examples: Examples) -> np.ndarray:
        """What a head on the frozen encoder gets to see: float32 `[n, width]`, pairs packed into one input.

        This is the one place where advice asks for vectors.
        """
        return self._vectors.compute(examples)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.model.output_shape[-1])

    @functools.cached_property
    def blocks(self) -> int:
        """How many blocks can learn apart from those below them; 0 if the encoder shows none."""
        parts = self.layer.parts
        # Blocks that share their weights, as ALBERT's do, cannot.
        return parts.block_count if all(len(part.blocks) < 2 for part in parts.parts) else 0

    @property
    def position_limit(self) -> int | None:
        """How many positions the encoder has vectors for, as far as it tells."""
        return getattr(self.layer, "position_limit", None)

    @property
    def mlm(self) -> Callable | None:
        """The masked-LM head with the encoder below it, as Model Garden exports it; None if there is none."""
        if self.encoder.takes_text or self.encoder.layers is not None:
            return None
        return getattr(getattr(self.layer, "resolved_object", None), "mlm", None)
