"""What stands behind a mask: the words that an encoder with a masked-LM head finds likely. No Keras is needed."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.encoders.base import Encoder
from tl_keras.encoders.offset_tokenizer import vocabulary_file
from tl_keras.encoders.resolve import resolve_pair
from tl_keras.encoders.vocabularies import parse_model
from tl_keras.errors import UserError
from tl_keras.paths import path_text
from tl_keras.text.preprocessor import Preprocessor, trim


def fill_mask(
    encoder: Encoder | str | os.PathLike, text: str, top: int = 5, *, seq_length: int | None = None
) -> pd.DataFrame:
    """The likeliest tokens for each mask in a text.

    Several masks are filled independently of one another.

    Args:
        encoder: what `load_encoder` gave, or its handle; with a masked-LM head.
        text: with one or more masks, written as the tokenizer names them: `[MASK]` for BERT, `<mask>` for XLM-R.
        top: how many tokens for each mask.
        seq_length: longest text in tokens; by default that of the loaded encoder, or 128.

    Returns:
        A DataFrame: `mask` (from 1), `token` (as the vocabulary spells it; `##` begins one that continues a word), `probability`.

    Raises:
        UserError: the encoder has no masked-LM head, or the text has no mask, or one beyond `seq_length` tokens.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, section 3.1.

    Example:
        >>> found = tlk.fill_mask(mlm_pair, "이 영화는 정말 [MASK].", top=3)
        >>> len(found)
        3
    """
    if top < 1:
        raise UserError(f"top must be at least 1, not {top}.")
    if isinstance(encoder, Encoder):
        handle, folders = encoder.name, (encoder.folder, encoder.preprocessor_folder)
        seq_length = seq_length or encoder.seq_length
    else:
        handle, folders = path_text(encoder), resolve_pair(encoder)
    return _filler(handle, *map(str, folders)).fill(text, top, seq_length or 128)


class MaskFiller:
    """A loaded encoder with its masked-LM head.

    Args:
        handle: for messages.
        folder: the encoder's SavedModel.
        preprocessor_folder: the preprocessing SavedModel.
    """

    def __init__(self, handle: str, folder: str, preprocessor_folder: str):
        self.handle, self._module = handle, tf.saved_model.load(folder)
        self._mlm = getattr(self._module, "mlm", None)
        if self._mlm is None or preprocessor_folder == "None":
            raise UserError(
                f"{handle} has no masked-LM head, so it cannot fill masks; take an encoder of `tl-keras pretrain bert`, or "
                "convert a checkpoint that has one."
            )
        self.preprocessor = Preprocessor(preprocessor_folder)
        self.tokens = _tokens(folder, handle)
        self.mask_id = self.preprocessor.special_tokens["mask_id"]

    @property
    def mask(self) -> str:
        """The mask as its tokenizer names it."""
        return self.tokens[self.mask_id]

    def fill(self, text: str, top: int, seq_length: int) -> pd.DataFrame:
        """See `fill_mask`."""
        parts = text.split(self.mask)
        if len(parts) == 1:
            raise UserError(
                f"the text has no {self.mask}: write it where {self.handle} is to find a word. The text: {text[:60]!r}."
            )
        tokens = self.preprocessor.tokenize(tf.constant(parts), None)
        nested = tokens.ragged_rank > 1
        ids = tokens.merge_dims(1, 2).to_list() if nested else tokens.to_list()
        joined = [token for part in ids for token in [*part, self.mask_id]][:-1]
        # In the form that the module's own tokenizer gives: tokens, or tokens of words.
        row = tf.ragged.constant([[[token] for token in joined]] if nested else [joined], tf.int32)
        packed = trim(self.preprocessor.pack([row], seq_length))
        places = np.flatnonzero(packed["input_word_ids"].numpy()[0] == self.mask_id)
        if len(places) < len(parts) - 1:
            raise UserError(
                f"the text has {len(joined)} tokens, and a {self.mask} lies beyond the first {seq_length}; shorten it, or give a larger seq_length."
            )
        inputs = {**packed, "masked_lm_positions": tf.constant([places], tf.int32)}
        logits = tf.cast(self._mlm(inputs, training=False)["mlm_logits"], tf.float32)[0]
        best = tf.math.top_k(tf.nn.softmax(logits), min(top, len(self.tokens)))
        return pd.DataFrame(
            {
                "mask": np.repeat(np.arange(1, len(places) + 1), best.indices.shape[1]),
                "token": [self.tokens[index].lstrip("▁") for index in best.indices.numpy().ravel()],
                "probability": best.values.numpy().ravel(),
            }
        )


@functools.lru_cache(maxsize=1)
def _filler(handle: str, folder: str, preprocessor_folder: str) -> MaskFiller:
    return MaskFiller(handle, folder, preprocessor_folder)


def _tokens(folder: str, handle: str) -> list[str]:
    """The vocabulary by id."""
    path = vocabulary_file(folder)
    if path is not None and path.suffix == ".txt":
        lines = Path(path).read_bytes().decode("utf-8").split("\n")
        return [line.rstrip("\r") for line in lines]
    model = Path(folder) / "assets" / "sentencepiece.model"
    if model.is_file():
        return [piece.piece for piece in parse_model(model.read_bytes(), str(model)).pieces]
    raise UserError(
        f"the vocabulary of {handle} is neither WordPiece nor SentencePiece, so its tokens cannot be named."
    )
