"""MPNet's checkpoint under RoBERTa's names; what is its own are the relative positions, see `operations`.

Source: Song et al. 2020, https://arxiv.org/abs/2004.09297; the names are those of Hugging Face's checkpoints.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tl_keras.encoders.operations import BUCKETS
from tl_keras.encoders.vocabularies import ROBERTA_PACKING, WordPieceVocabulary
from tl_keras.errors import UserError

RELATIVE = "encoder.relative_attention_bias.weight"
_PARTS = {
    "attention.attn.q": "attention.self.query",
    "attention.attn.k": "attention.self.key",
    "attention.attn.v": "attention.self.value",
    "attention.attn.o": "attention.output.dense",
    "attention.LayerNorm": "attention.output.LayerNorm",
}
_TOKENS = {"unknown": "[UNK]", "padding": "<pad>", "start": "<s>", "end": "</s>", "mask": "<mask>"}


def mpnet_as_roberta(config: dict, tensors: dict[str, np.ndarray]) -> tuple[dict, dict[str, np.ndarray]]:
    """A checkpoint's settings and tensors under the names that RoBERTa's have, the relative positions under their own.

    Args:
        config: of `config.json`.
        tensors: by name, without `mpnet.` before it.

    Raises:
        KeyError: there is no table of relative positions.
        UserError: it has other buckets.
    """
    if len(tensors[RELATIVE]) != BUCKETS:
        raise UserError(
            f"The checkpoint has {len(tensors[RELATIVE])} kinds of relative positions; MPNet has {BUCKETS}."
        )
    renamed = {}
    for name, array in tensors.items():
        for theirs, robertas in _PARTS.items():
            name = name.replace(f".{theirs}.", f".{robertas}.")
        renamed[name] = array
    # RoBERTa's only token type, of which MPNet has none: it adds nothing.
    renamed["embeddings.token_type_embeddings.weight"] = np.zeros((1, config["hidden_size"]), np.float32)
    return config | {"type_vocab_size": 1, "pad_token_id": 1}, renamed


def mpnet_vocabulary(vocabulary: WordPieceVocabulary) -> WordPieceVocabulary:
    """BERT's WordPiece tokens with RoBERTa's special ones, packed as RoBERTa does it."""
    rules = dataclasses.replace(vocabulary.rules, special_tokens={**_TOKENS, **vocabulary.rules.special_tokens})
    return dataclasses.replace(vocabulary, rules=rules, packing=ROBERTA_PACKING)
