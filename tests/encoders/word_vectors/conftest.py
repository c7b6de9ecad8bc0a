"""Word vectors of a few words that the reviews of tests/conftest.py are made of."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras.encoders.word_vectors.word_vectors import WordVectors

KNOWN = ("the", "film", "good", "great", "fine", "bad", "awful", "dull", "영화", "좋다", "지루하다", ".", "rare")


@pytest.fixture(scope="session")
def vectors() -> WordVectors:
    """Thirteen words of width 6; `rare` is in none of the reviews."""
    matrix = np.random.default_rng(5).normal(size=(len(KNOWN), 6))
    return WordVectors(KNOWN, matrix, source="tiny.vec")


@pytest.fixture(scope="session")
def vector_file(vectors, tmp_path_factory):
    """The same as a file."""
    path = tmp_path_factory.mktemp("vectors") / "tiny.vec"
    rows = [f"{word} {' '.join(f'{x:.6f}' for x in row)}" for word, row in zip(KNOWN, vectors.matrix, strict=True)]
    path.write_text(f"{len(KNOWN)} 6\n" + "\n".join(rows) + "\n", "utf-8")
    return path
