"""Finding texts: a graph of neighbours for large collections, words in common by BM25, and both together."""

from __future__ import annotations

import itertools
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import QUERIES_AT_ONCE, largest
from tl_keras.text.word_rules import is_wide


class ApproximateIndex:
    """An HNSW graph over vectors of length 1, by the library `usearch`.

    It asks a few thousand vectors instead of all, and misses a few per cent of the true neighbours; below some hundred thousand
    texts the exact search is quick enough.

    Args:
        graph: of `usearch.index.Index`.

    Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
        graphs", https://arxiv.org/abs/1603.09320; the library is https://github.com/unum-cloud/usearch
    """

    def __init__(self, graph):
        self.graph = graph

    @classmethod
    def build(cls, vectors: np.ndarray) -> ApproximateIndex:
        """Build the graph.

        Args:
            vectors: float32 `[n, width]`, of length 1.

        Raises:
            UserError: the library is not installed.
        """
        # A wider search than the library's default (64) finds more of the true neighbours, and still takes about a millisecond.
        graph = _usearch().Index(ndim=vectors.shape[1], metric="ip", dtype="f32", expansion_search=256)
        graph.add(np.arange(len(vectors), dtype="uint64"), vectors)
        return cls(graph)

    @classmethod
    def load(cls, path: str | os.PathLike) -> ApproximateIndex:
        """Load a graph that `save` wrote.

        Raises:
            UserError: the library is not installed, or the file is damaged.
        """
        library = _usearch()
        try:
            graph = library.Index.restore(str(path))
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"{path} cannot be read ({error}); build the index again.") from error
        if graph is None:
            raise UserError(f"{path} cannot be read; build the index again.")
        graph.expansion_search = 256
        return cls(graph)

    def save(self, path: str | os.PathLike) -> None:
        """Write the graph, its vectors included."""
        self.graph.save(str(path))

    def nearest(self, queries: np.ndarray, k: int) -> np.ndarray:
        """For each query the rows of about the `k` nearest vectors: int64 `[q, k]`, -1 where fewer were found."""
        rows = np.full((len(queries), min(k, len(self.graph))), -1, "int64")
        for place, query in enumerate(queries):
            found = self.graph.search(query, rows.shape[1]).keys.astype("int64")
            rows[place, : len(found)] = found
        return rows


def _usearch():
    try:
        from usearch import index
    except ImportError as error:
        raise UserError(
            'an approximate index needs usearch: pip install "tl_keras[search]", or search exactly (exact=True, --exact).'
        ) from error
    return index


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


CANDIDATES = 200
"""Texts from each of the two lists that an approximate search compares."""
SAMPLE = 10_000
"""Texts from which an approximate search learns how the cosines lie."""


def joined_search(
    queries: Sequence[str],
    asked: np.ndarray,
    vectors: np.ndarray,
    words: SharedWords,
    lexical_weight: float,
    k: int,
    approximate: ApproximateIndex | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """For each query the `k` texts with the best `(1 - lexical_weight) * meaning + lexical_weight * words`.

    Meaning is the cosine, words the score of BM25, each as standard scores: how many standard deviations it lies above its mean over
    all texts. Cosines of some encoders lie between 0.7 and 0.9, of others between 0 and 1, and BM25 has no bounds; so the weight means
    the same for all queries and encoders.

    Args:
        queries: `q` strings.
        asked: float32 `[q, width]`, their vectors, of length 1.
        vectors: float32 `[n, width]`, those of the texts.
        words: the texts' terms.
        lexical_weight: 0 to 1.
        k: how many texts.
        approximate: compare only the texts that are best, or nearly so, by one of the two.

    Returns:
        `(rows, scores)`, int64 and float32 `[q, min(k, n)]`, best first, equal scores in order of their rows.

    Source: z-score normalisation in Lee, "Combining multiple evidence from different relevance feedback methods", and Renda and
        Straccia, "Web metasearch: rank vs. score based rank aggregation methods", https://doi.org/10.1145/952532.952698
    """
    k = min(k, len(vectors))
    every = np.arange(len(vectors))
    compared = vectors if approximate is None else vectors[:: max(1, len(vectors) // SAMPLE)]
    rows, scores = np.empty((len(queries), k), "int64"), np.empty((len(queries), k), "float32")
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        by_word = words.scores(queries[part])
        by_word = (by_word - by_word.mean(axis=1, keepdims=True)) / _deviation(by_word)
        cosines = asked[part] @ compared.T
        usual, deviation = cosines.mean(axis=1), _deviation(cosines)[:, 0]
        for row, lexical in enumerate(by_word):
            query = asked[start + row]
            among = every if approximate is None else _candidates(approximate, query, lexical, max(k, CANDIDATES))
            cosine = cosines[row] if approximate is None else vectors[among] @ query
            meaning = (cosine - usual[row]) / deviation[row]
            joined = (1 - lexical_weight) * meaning + lexical_weight * lexical[among]
            best = largest(joined, k)
            rows[start + row], scores[start + row] = among[best], joined[best]
    return rows, scores


def _deviation(values: np.ndarray) -> np.ndarray:
    """The standard deviation of each row, `[rows, 1]`; 1 where all are alike, which then says nothing."""
    deviation = values.std(axis=1, keepdims=True)
    return np.where(deviation > 1e-6, deviation, 1.0)


def _candidates(graph: ApproximateIndex, vector: np.ndarray, lexical: np.ndarray, count: int) -> np.ndarray:
    """The rows, in order, of the best texts by meaning and of the best by words."""
    by_meaning = graph.nearest(vector[np.newaxis], count)[0]
    return np.union1d(by_meaning[by_meaning >= 0], largest(lexical, min(count, len(lexical))))
