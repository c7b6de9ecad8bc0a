"""How far from known text are these texts? A classifier's success at telling the two apart, and the known text itself."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

REFERENCES = ("en", "ko")
FOLDS = 5
_ENGLISH = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "a",
        "in",
        "is",
        "it",
        "that",
        "was",
        "for",
        "on",
        "with",
        "this",
        "but",
        "not",
        "you",
        "i",
    ]
)


@dataclasses.dataclass(frozen=True)
class ProxyDistance:
    """How well a linear classifier tells the user's texts from reference texts.

    It saturates: two kinds of text need not differ much for a classifier to know them apart. It notices length and punctuation as well
    as words, and it says that texts differ from the reference, not that the encoder cannot read them. So it describes, and decides
    nothing.

    Attributes:
        texts: of the user; as many reference texts were used.
        error: fraction of the held-out texts that the classifier gets wrong; 0.5 is guessing.
    """

    texts: int
    error: float

    @property
    def distance(self) -> float:
        """`2 (1 - 2 error)`: 0 for texts that cannot be told apart, 2 for texts that always can."""
        return max(2.0 * (1.0 - 2.0 * self.error), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**dataclasses.asdict(self), "distance": self.distance}


def proxy_distance(vectors: np.ndarray, reference: np.ndarray, seed: int = 0) -> ProxyDistance:
    """The proxy A-distance of two sets of vectors, by cross-validation.

    Args:
        vectors: float `[n, width]` of the user's texts.
        reference: float `[m, width]`. Of the larger set as many as the smaller has are drawn, so that guessing is wrong half the time.
        seed: of the drawing and the folds.

    Source: Ben-David et al., "Analysis of Representations for Domain Adaptation", https://papers.nips.cc/paper/2983, section 4; as
        used by Glorot et al., "Domain Adaptation for Large-Scale Sentiment Classification", ICML 2011, section 4.4.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> one, other = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
        >>> proxy_distance(one, other + 20).distance, proxy_distance(one, other).distance < 0.7
        (2.0, True)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    size = min(len(vectors), len(reference))
    both = np.concatenate([values[rng.permutation(len(values))[:size]] for values in (vectors, reference)])
    sides = np.repeat([0, 1], size)
    # A strong penalty: with fewer texts than numbers in a vector, any two sets can be told apart on the training side.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    folds = StratifiedKFold(min(FOLDS, size), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that are constant
        guessed = cross_val_predict(model, both, sides, cv=folds)
    return ProxyDistance(size, float(np.mean(guessed != sides)))


def reference_texts(language: str) -> list[str]:
    """Sentences of plain prose that come with the package, about ninety, written for this project.

    Args:
        language: one of `REFERENCES`.
    """
    file = resources.files("tl_keras.advice") / "reference" / f"{language}.txt"
    return [line for line in file.read_text("utf-8").split("\n") if line.strip()]


def language_of(texts: Sequence[str]) -> str | None:
    """Which of the shipped references fits: `"ko"` for texts in Hangul, `"en"` for English, else None.

    Example:
        >>> language_of(["정말 재미있었어요 ㅋㅋ", "good이네요"]), language_of(["It was a good film."]), language_of(["Bu film çok iyi."])
        ('ko', 'en', None)
    """
    letters = [c for text in texts for c in text if c.isalpha()]
    if sum("가" <= c <= "힣" or "ㄱ" <= c <= "ㅣ" for c in letters) > 0.3 * len(letters):
        return "ko"
    words = [word for text in texts for word in re.findall(r"[a-z']+", text.lower())]
    latin = sum(c.isascii() for c in letters)
    # The commonest words make up a quarter of English; of other languages next to nothing.
    english = sum(word in _ENGLISH for word in words)
    return "en" if latin > 0.9 * len(letters) and english > 0.08 * max(len(words), 1) else None
