"""An encoder pair with a masked-LM head, tiny, with weights far enough from zero for every part to matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def mlm_pair(tmp_path_factory, vocabulary) -> Path:
    """One block of width 16 and its masked-LM head, at random."""
    keras_hub = pytest.importorskip("keras_hub")
    from tl_keras.encoders.pair import write_encoder_pair
    from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary

    backbone = keras_hub.models.BertBackbone(
        len(vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=24,
        dropout=0.0,
        max_sequence_length=24,
    )
    head = keras_hub.layers.MaskedLMHead(token_embedding=backbone.token_embedding, intermediate_activation="gelu")
    head.build((None, None, 16))
    rng = np.random.default_rng(0)
    for weight in [*backbone.trainable_weights, *head.trainable_weights]:
        weight.assign(rng.normal(0.0, 0.4, weight.shape) + (1.0 if "gamma" in weight.path else 0.0))
    return write_encoder_pair(
        tmp_path_factory.mktemp("mlm") / "pair",
        backbone,
        WordPieceVocabulary(vocabulary, WordPieceRules(lower_case=True, strip_accents=False)),
        seq_length=16,
        mlm_head=head,
    )


@pytest.fixture
def mlm_encoder(mlm_pair):
    """The pair, cutting texts at 16 tokens."""
    from tl_keras import load_encoder

    return load_encoder(str(mlm_pair), seq_length=16)
