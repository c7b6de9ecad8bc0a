"""Word vectors of the tokens, as first values of the token embeddings."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tl_keras.errors import UserError
from tl_keras.pretraining.token_files import TokenFile

logger = logging.getLogger(__name__)


class TokenSentences:
    """The sentences of a token file as lists of tokens, again and again, as gensim wants them.

    Args:
        part: The token file.
        vocabulary: The tokens by id.
    """

    def __init__(self, part: TokenFile, vocabulary: list[str]):
        self.part, self.vocabulary = part, np.asarray(vocabulary, object)

    def __iter__(self) -> Iterator[list[str]]:
        """Begin again at the first sentence."""
        begins = self.part.sentences
        for index in range(len(begins) - 1):
            yield self.vocabulary[self.part.tokens[begins[index] : begins[index + 1]]].tolist()


def train_token_vectors(
    sentences: Iterable[list[str]],
    vocabulary: Sequence[str],
    width: int,
    epochs: int = 4,
    seed: int = 0,
    threads: int = 2,
) -> np.ndarray:
    """Learn skip-gram vectors of WordPiece tokens with gensim.

    Source: Mikolov et al. 2013, https://arxiv.org/abs/1310.4546.

    Args:
        sentences: Lists of tokens; iterated over several times.
        vocabulary: The tokens by id.
        width: Width of the vectors.
        epochs: Passes.
        seed: Where chance begins; with more than one thread the result still varies a little.
        threads: Worker threads.

    Returns:
        float32 `[vocabulary, width]`; rows of NaN for tokens that never occur.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise UserError(
            "learning token vectors needs gensim: pip install tl_keras[vectors], or give --init-embeddings FILE"
        ) from error
    model = Word2Vec(
        sentences, vector_size=width, sg=1, window=5, negative=5, min_count=1, sample=1e-4, workers=threads,
        epochs=epochs, seed=seed,
    )  # fmt: skip
    vectors = np.full((len(vocabulary), width), np.nan, np.float32)
    for index, token in enumerate(vocabulary):
        if token in model.wv:
            vectors[index] = model.wv[token]
    return vectors


def read_token_vectors(path: str | Path, vocabulary: Sequence[str]) -> np.ndarray:
    """Read vectors of WordPiece tokens.

    Args:
        path: `.npy` (float `[vocabulary, width]`, NaN where unknown) or word2vec's text format (a line with count and
            width, then a token and its numbers on each line).
        vocabulary: The tokens by id.

    Returns:
        float32 `[vocabulary, width]`, NaN for tokens that are not in the file.

    Raises:
        UserError: The file is missing, or is neither.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--init-embeddings: {path} does not exist")
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path), np.float32)
        ids = {token: index for index, token in enumerate(vocabulary)}
        with path.open(encoding="utf-8") as stream:
            width = int(stream.readline().split()[1])
            vectors = np.full((len(vocabulary), width), np.nan, np.float32)
            for line in stream:
                token, *numbers = line.rstrip("\n").split(" ")
                if token in ids:
                    vectors[ids[token]] = [float(number) for number in numbers if number]
    except (ValueError, IndexError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"--init-embeddings: {path} is neither .npy nor word2vec's text format ({error})") from error
    return vectors


def set_embeddings(backbone: keras.Model, vectors: np.ndarray, deviation: float | None = 0.04) -> int:
    """Start the token embeddings from word vectors of the same tokens.

    Args:
        backbone: A BERT backbone.
        vectors: float `[vocabulary, width]`; rows of NaN (tokens without a vector) keep their random start.
        deviation: The standard deviation that the known vectors are scaled to; None leaves them as they are.

    Returns:
        How many tokens got a vector.

    Raises:
        UserError: The shape is not that of the embeddings, or no token has a vector.
    """
    table = backbone.token_embedding.embeddings
    if tuple(vectors.shape) != tuple(table.shape):
        raise UserError(
            f"--init-embeddings holds vectors of shape {tuple(vectors.shape)}, the encoder needs {tuple(table.shape)} "
            "(tokens x width)"
        )
    known = ~np.isnan(vectors).any(axis=1)
    if not known.any():
        raise UserError("--init-embeddings holds no vector for any token of the vocabulary")
    values = ops.convert_to_numpy(table).copy()
    chosen = vectors[known].astype("float32")
    values[known] = chosen if deviation is None else chosen * (deviation / max(float(chosen.std()), 1e-12))
    table.assign(values)
    return int(known.sum())


def start_from_token_vectors(backbone, part: TokenFile, vocabulary: list[str], settings) -> None:
    """Put word vectors of the tokens into a backbone's embeddings, if the settings ask for it.

    Args:
        backbone: A KerasHub backbone with `token_embedding`.
        part: The tokens to learn from.
        vocabulary: The tokens by id.
        settings: Those of the run: `init_embeddings`, `init_deviation`, `width` and `seed`.
    """
    if not settings.init_embeddings:
        return
    if settings.init_embeddings == "skip-gram":
        sentences = TokenSentences(part, vocabulary)
        threads = os.cpu_count() or 1
        vectors = train_token_vectors(sentences, vocabulary, settings.width, seed=settings.seed, threads=threads)
    else:
        vectors = read_token_vectors(settings.init_embeddings, vocabulary)
    known = set_embeddings(backbone, vectors, settings.init_deviation)
    logger.info("%d of %d tokens start from word vectors", known, len(vocabulary))
