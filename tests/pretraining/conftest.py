"""A small bilingual corpus and the token files made from it, once per session."""

from __future__ import annotations

import pytest

from tl_keras.pretraining.corpus import scan_corpus
from tl_keras.pretraining.token_files import prepare_token_files
from tl_keras.pretraining.vocabulary import WordPiece, learn_vocabulary

WORDS = ["영화", "정말", "좋아요", "배우", "연기", "최고", "the", "film", "was", "good", "bad", "and", "long", "story"]
WORDS += ["시간", "아깝다", "music"]


def sentence(number: int, length: int) -> str:
    """A sentence that no other number gives: its words count in base 17."""
    return " ".join(WORDS[(number // 17**place + place) % 17] for place in range(length)) + "."


@pytest.fixture(scope="session")
def corpus_files(tmp_path_factory):
    """(a file of 120 independent lines, a file of 30 documents of 2 to 9 sentences)."""
    folder = tmp_path_factory.mktemp("corpus")
    reviews, stories = folder / "reviews.txt", folder / "stories.txt"
    reviews.write_text("".join(f"{sentence(n, 3 + n % 9)}\n" for n in range(120)), encoding="utf-8")
    documents = [[sentence(1000 * d + n, 4 + (d + n) % 6) for n in range(2 + d % 8)] for d in range(30)]
    stories.write_text("\n\n".join("\n".join(document) for document in documents) + "\n", encoding="utf-8")
    return reviews, stories


@pytest.fixture(scope="session")
def word_piece(corpus_files):
    lines = [line for path in corpus_files for line in path.read_text("utf-8").splitlines() if line]
    return WordPiece(learn_vocabulary(lines, 90, alphabet_size=60))


@pytest.fixture(scope="session")
def tokens(corpus_files, word_piece, tmp_path_factory):
    corpora = [scan_corpus(path) for path in corpus_files]
    return prepare_token_files(tmp_path_factory.mktemp("tokens") / "t", corpora, word_piece, heldout_fraction=0.1)
