"""A collection of texts that can be searched by meaning."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tl_keras.data.given import check_texts
from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import nearest
from tl_keras.serving.index_files import IndexContent, fingerprint, read_index, read_meta, same_encoder, write_index
from tl_keras.serving.nearest_search import ApproximateIndex, SharedWords, joined_search
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.scorers import SentenceEncoder

logger = logging.getLogger(__name__)

CHUNK = 4096
"""Texts that are sorted by length and encoded together."""
MANY = 100_000
"""Texts from which on an approximate index is worth a thought."""


class TextIndex:
    """Texts with their vectors, and the encoder that made them.

    Make it with `TextIndex.build` or `TextIndex.load`.

    Args:
        encoder: gives vectors for queries.
        texts: `n` strings.
        vectors: float32 `[n, width]`, of length 1.
        probes: the encoder's fingerprint.
        approximate: a graph over the vectors; None for exact search.
        made_with: plain values that say how to make the encoder again; kept in `meta.json`.
        words: the texts' terms, for a search by shared words too.
        lexical_weight: how much these count, at least 0 and below 1; meaning has the rest.

    Example:
        >>> model = tlk.sentence_encoder(encoder)
        >>> index = tlk.TextIndex.build(model, tlk.data.read_collection("articles.csv", "body"), lexical_weight=0.5)
        >>> index.search(["great music"], k=1).text.item()
        'the music was great'
        >>> folder = index.save("articles-index")
        >>> index = tlk.TextIndex.load(folder, model)
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        texts: Sequence[str],
        vectors: np.ndarray,
        probes: np.ndarray,
        approximate: ApproximateIndex | None = None,
        made_with: dict | None = None,
        words: SharedWords | None = None,
        lexical_weight: float = 0.0,
    ):
        self.encoder = encoder
        self.texts = np.array(list(texts), object)
        self.vectors = vectors
        self.probes = probes
        self.approximate = approximate
        self.made_with = made_with or {"encoder": encoder.name}
        self.words = words
        self.lexical_weight = lexical_weight if words is not None else 0.0

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        kind = "exact" if self.approximate is None else "approximate"
        return f"TextIndex({len(self)} texts, width {self.vectors.shape[1]}, {kind})"

    @classmethod
    def build(
        cls,
        model,
        texts: Iterable[str],
        *,
        approximate: bool = False,
        batch_size: int = 64,
        progress: Callable[[int, float], None] | None = None,
        made_with: dict | None = None,
        lexical_weight: float = 0.0,
    ) -> TextIndex:
        """Encode a collection.

        Args:
            model: a Keras model of `sentence_encoder`, a path to an export or a run folder, or what `load_exported` gave.
            texts: any number of strings, a generator too: they are taken as they come.
            approximate: also build a graph of neighbours, for collections far beyond 100,000 (extra `search`).
            batch_size: texts in a batch.
            progress: called with the texts done and the seconds so far; by default these are logged.
            made_with: plain values that say how to make the encoder again, for `meta.json`.
            lexical_weight: how much of a text's score is shared words, by BM25, at least 0 and below 1; see
                `tl_keras.serving.nearest_search.joined_search`. 0 leaves them out.

        Raises:
            UserError: the model gives no vectors, there are no texts, one is no string, or the weight is none.
        """
        if not 0.0 <= lexical_weight < 1.0:
            raise UserError(f"lexical_weight must be at least 0 and below 1, not {lexical_weight:g}.")
        encoder = _encoder(model)
        if isinstance(texts, str):
            raise UserError(f"texts must be many strings, not one: write [{texts[:40]!r}].")
        started, kept, parts = time.perf_counter(), [], []
        stream = iter(texts)
        # As many as there are at once: a generator may be longer than memory is wide in tokens.
        while chunk := list(itertools.islice(stream, CHUNK)):
            parts.append(encoder.unit_vectors(chunk, batch_size, role="passage"))
            kept.extend(chunk)
            seconds = time.perf_counter() - started
            if progress is not None:
                progress(len(kept), seconds)
            else:
                logger.info("%d texts encoded, %.0f a second.", len(kept), len(kept) / max(seconds, 1e-9))
        if not kept:
            raise UserError("there are no texts to search in.")
        vectors = np.concatenate(parts)
        if len(kept) > MANY and not approximate:
            logger.info(
                "%d texts: if a search takes too long, build an approximate index (approximate=True, --approximate).",
                len(kept),
            )
        graph = ApproximateIndex.build(vectors) if approximate else None
        words = SharedWords.build(kept) if lexical_weight else None
        return cls(encoder, kept, vectors, fingerprint(encoder), graph, made_with, words, lexical_weight)

    def search(self, queries: Sequence[str], k: int = 10) -> pd.DataFrame:
        """The best texts for each query.

        Args:
            queries: strings.
            k: how many texts for each.

        Returns:
            A DataFrame with `query`, `rank` (from 1), `row` (from 0, in the collection), `score` (the cosine; with
            shared words, what `find` says) and `text`, the queries in order, best first.

        Raises:
            UserError: `k` below 1, or the queries are no list of strings.
        """
        check_texts(queries, "queries")
        queries = list(queries)
        rows, scores = self.find(queries, k)
        found = rows.ravel() >= 0
        frame = pd.DataFrame(
            {
                "query": pd.Series(np.repeat(np.array(queries, object), rows.shape[1]), dtype=object),
                "rank": np.tile(np.arange(1, rows.shape[1] + 1), len(queries)),
                "row": rows.ravel(),
                "score": scores.ravel(),
                "text": pd.Series(self.texts[rows.ravel()], dtype=object),
            }
        )
        return frame[found].reset_index(drop=True)

    def find(self, queries: Sequence[str], k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the best texts for each query: by the cosine, or with shared words as `joined_search` says.

        Args:
            queries: `q` strings.
            k: how many; all, if there are fewer.

        Returns:
            `(rows, scores)`, int64 and float32 `[q, min(k, n)]`, best first; -1 where an approximate search found fewer.
        """
        vectors = self.encoder.unit_vectors(queries)
        if self.words is None:
            return self.search_vectors(vectors, k)
        _check_count(k)
        return joined_search(queries, vectors, self.vectors, self.words, self.lexical_weight, k, self.approximate)

    def search_vectors(self, queries: np.ndarray, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The rows nearest to each vector, by the cosine alone: see `tl_keras.evaluation.similarity.nearest`.

        Args:
            queries: float32 `[q, width]`, of length 1.
            k: how many; all, if there are fewer.

        Returns:
            `(rows, scores)`, int64 and float32 `[q, min(k, n)]`, best first; -1 where an approximate search found fewer.
        """
        if self.approximate is None:
            return nearest(self.vectors, queries, k)
        _check_count(k)
        rows = self.approximate.nearest(queries, k)
        # The graph's own distances are rounded; the vectors are at hand.
        scores = np.einsum("qkw,qw->qk", self.vectors[rows], queries)
        scores[rows < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)

    def save(self, folder: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write the index: `vectors.npy`, `texts.jsonl`, `fingerprint.npy`, `meta.json`, and with shared words `terms.json`, `terms.npz`.

        Args:
            folder: to write; it appears whole or not at all.
            overwrite: replace an index that is there.

        Raises:
            UserError: the folder exists, is no index, or cannot be written.
        """
        return write_index(
            folder,
            IndexContent(self.texts, self.vectors, self.probes, self.approximate, self.words),
            {"made_with": self.made_with, "lexical_weight": float(self.lexical_weight)},
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, folder: str | os.PathLike, model, *, exact: bool = False) -> TextIndex:
        """Load an index, and check that it was built with this encoder.

        Args:
            folder: that `save` wrote.
            model: what it was built with: a Keras model of `sentence_encoder`, a path to an export or a run folder, or what
                `load_exported` gave.
            exact: compare with every text, also where there is an approximate index.

        Raises:
            UserError: no index is there, it is incomplete or of a later version, or another encoder made it.
        """
        meta = read_meta(folder)
        encoder = _encoder(model)
        found = read_index(folder, meta, exact=exact)
        if encoder.width != meta["width"]:
            raise UserError(
                f"the index {folder} holds vectors of {meta['width']} numbers, but {encoder.name} gives {encoder.width}: it was "
                f"built with another encoder ({meta['made_with'].get('encoder')}). Give that one, or build the index again."
            )
        if not same_encoder(found.probes, fingerprint(encoder)):
            raise UserError(
                f"the index {folder} was built with another encoder or another version of it ({meta['made_with'].get('encoder')}): its vectors and "
                f"those of {encoder.name} do not compare. Give that one, or build the index again."
            )
        return cls(
            encoder,
            found.texts,
            found.vectors,
            found.probes,
            found.graph,
            meta["made_with"],
            found.words,
            meta["lexical_weight"],
        )


def _check_count(k: int) -> None:
    if k < 1:
        raise UserError(f"the number of texts to find must be at least 1, not {k}.")


def _encoder(model) -> SentenceEncoder:
    encoder = as_predictor(model)
    if not isinstance(encoder, SentenceEncoder):
        raise UserError("the model gives no vectors to search with; build it with sentence_encoder(...).")
    return encoder
