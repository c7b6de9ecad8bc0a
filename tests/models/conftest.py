"""A biLM of random weights, exported once for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bilm_folder(tmp_path_factory) -> Path:
    """A biLM that reads characters, of width 3: its ELMo vectors have width 6."""
    from tl_keras.pretraining.bilm.export import export_bilm
    from tl_keras.pretraining.bilm.model import Bilm, BilmShape
    from tl_keras.pretraining.bilm.words import SPECIAL_WORDS, Lexicon

    shape = BilmShape(vocabulary_size=8, width=3, char_width=2, filters=((1, 2), (3, 4)), max_chars=12)
    model = Bilm(shape, seed=4)
    for variable in model.variables:  # wide enough for differences to show
        variable.assign(variable * 3.0 + 0.1)
    lexicon = Lexicon([*SPECIAL_WORDS, "the", "film", "was", "good", "영화"], 8)
    folder = tmp_path_factory.mktemp("elmo") / "ours"
    folder.mkdir()
    return export_bilm(folder, model, lexicon, {"name": "tiny"})
