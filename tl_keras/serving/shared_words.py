"""How many words a query shares with each text, and how rare these are: BM25, exact, kept as a sparse matrix."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from tl_keras.errors import UserError
from tl_keras.models.lexical import is_wide

SATURATION, LENGTH = 0.9, 0.4
"""k1 and b of BM25, those of Anserini (https://github.com/castorini/anserini)."""
TERMS, POSTINGS = "terms.json", "terms.npz"


def terms_of(text: str) -> list[str]:
    """What is counted of a text: words of alphabets; of words with Hangul, Han or Kana, pairs of neighbouring characters.

    Korean particles stick to their nouns, so that whole words seldom match. The first pair is the word's beginning and its first
    character, so a single character has one too. Names and numbers inside such a word count as words beside. Case, and width as in
    "ＡＢＣ", do not matter.

    Example:
        >>> terms_of("서울에 TAXI!"), terms_of("BTS는")
        ([' 서', '서울', '울에', 'taxi'], [' b', 'bt', 'ts', 's는', 'bts'])
    """
    found: list[str] = []
    for word in re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower()):
        if not any(map(is_wide, word)):
            found.append(word)
            continue
        found += map("".join, itertools.pairwise(f" {word}"))
        runs = ("".join(run) for wide, run in itertools.groupby(word, is_wide) if not wide)
        found += [run for run in runs if len(run) > 1]
    return found


class SharedWords:
    """Texts by their terms (`terms_of`).

    Args:
        terms: the `v` different ones that occur.
        postings: float32 CSR `[v, n]`: what each of the `n` texts scores for having a term, from 0 to the term's rarity.
    """

    def __init__(self, terms: Sequence[str], postings: sparse.csr_matrix):
        self.places = {term: place for place, term in enumerate(terms)}
        self.postings = postings

    def __len__(self) -> int:
        return self.postings.shape[1]

    @classmethod
    def build(cls, texts: Sequence[str]) -> SharedWords:
        """Count the terms of texts.

        A text scores `rarity * count / (count + k1 (1 - b + b length / mean length))` for a term, whose rarity is
        `log(1 + (n - df + 0.5) / (df + 0.5))`, where `df` of the `n` texts have it and lengths are in terms.

        Args:
            texts: `n` strings.

        Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
            https://doi.org/10.1561/1500000019; this rarity, which is never negative, is Lucene's.
        """
        counter = CountVectorizer(analyzer=terms_of, dtype=np.float32)
        try:
            counts = counter.fit_transform(texts).tocsr()
        except ValueError:
            if any(map(terms_of, texts)):
                raise
            # Not a letter or digit in any text, which scikit-learn refuses.
            return cls([], sparse.csr_matrix((0, len(texts)), dtype="float32"))
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        damping = SATURATION * (1 - LENGTH + LENGTH * lengths / lengths.mean())
        postings = counts.T.tocsr()
        having = np.diff(postings.indptr)
        rarity = np.repeat(np.log(1 + (len(texts) - having + 0.5) / (having + 0.5)), having)
        postings.data = (rarity * postings.data / (postings.data + damping[postings.indices])).astype("float32")
        return cls(counter.get_feature_names_out().tolist(), postings)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """Each query with each text: the sum, over the query's terms, of what the text scores for them.

        Args:
            queries: `q` strings.

        Returns:
            Float32 `[q, n]`, at least 0.
        """
        if not self.places:
            return np.zeros((len(queries), len(self)), "float32")
        counter = CountVectorizer(analyzer=terms_of, vocabulary=self.places, dtype=np.float32)
        return (counter.transform(queries) @ self.postings).toarray()

    @property
    def nbytes(self) -> int:
        """Bytes of the postings."""
        return self.postings.data.nbytes + self.postings.indices.nbytes + self.postings.indptr.nbytes

    def save(self, folder: Path) -> None:
        """Write `terms.json`, a list, and `terms.npz`, the postings."""
        (folder / TERMS).write_text(json.dumps(list(self.places), ensure_ascii=False), "utf-8")
        sparse.save_npz(folder / POSTINGS, self.postings, compressed=False)

    @classmethod
    def load(cls, folder: Path) -> SharedWords:
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing or damaged.
        """
        try:
            terms = json.loads((folder / TERMS).read_text("utf-8"))
            postings = sparse.load_npz(folder / POSTINGS)
        except (OSError, ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile) as error:
            raise UserError(f"the index {folder} is damaged ({error}); build it again.") from error
        if not isinstance(terms, list) or postings.format != "csr" or postings.shape[0] != len(terms):
            raise UserError(
                f"the index {folder} is damaged: {POSTINGS} does not belong to {TERMS}; build the index again."
            )
        return cls(terms, postings)
