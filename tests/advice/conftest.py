"""The encoder with a masked-LM head, as advice asks it."""

from __future__ import annotations

import pytest


@pytest.fixture
def mlm_encoder(mlm_pair):
    """The pair, cutting texts at 16 tokens."""
    from tl_keras import load_encoder

    return load_encoder(str(mlm_pair), seq_length=16)
