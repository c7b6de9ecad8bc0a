"""How much the shared letters of two texts should count beside their meanings: the weight that serves best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import similarity_report
from tl_keras.models.lexical import JoinVectors, join_layer_of
from tl_keras.models.pair_heads import sentence_encoder_of

WEIGHTS = np.linspace(0.0, 1.0, 21)
QUESTIONS_AT_ONCE = 256


def choose_lexical_weight(model, examples: ScoredExamples | RetrievalPairs, batch_size: int = 64) -> float:
    """Set the lexical weight of a sentence encoder to the one, of 0, 0.05, ..., 1, that orders these examples best.

    Examples that were not trained on: on the others the encoder looks better than it is. Figures on the same examples are then a
    little too good, by what one number can be fitted.

    Args:
        model: of `sentence_encoder(..., lexical_weight=...)`, or the towers around one.
        examples: scored pairs: the best Spearman counts; or questions with documents: the best mean reciprocal rank.
        batch_size: texts in a batch.

    Returns:
        The weight, which is set. Of several that are equally good, the smallest.

    Raises:
        UserError: the model has no lexical part, or the examples are neither.
    """
    model = sentence_encoder_of(model)
    layer = join_layer_of(model)
    if layer is None:
        raise UserError("the model has no lexical part: build it with sentence_encoder(..., lexical_weight=0.5).")
    if isinstance(examples, ScoredExamples):
        quality = _spearmans
    elif isinstance(examples, RetrievalPairs):
        quality = _reciprocal_ranks
    else:
        raise UserError("a lexical weight is chosen by scored pairs (read_scored) or by questions with documents.")
    # With both parts there, each can be taken out of the joined vector.
    layer.weight.assign(0.5)
    weight = float(WEIGHTS[int(np.argmax(quality(_parts_of(model, layer, batch_size), examples)))])
    layer.weight.assign(weight)
    return weight


def _parts_of(model, layer: JoinVectors, batch_size: int) -> Callable[[list[str]], tuple[np.ndarray, np.ndarray]]:
    """What gives texts' two vectors, each of length 1."""
    from tl_keras.serving.predict import as_predictor

    encoder = as_predictor(model)

    def parts(texts, role="query"):
        different = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        vectors = encoder.encode(list(different), batch_size, role=role)[[different[text] for text in texts]]
        both = vectors[:, : layer.first_width], vectors[:, layer.first_width :]
        return tuple(part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in both)

    return parts


def _spearmans(parts, examples: ScoredExamples) -> list[float]:
    """Spearman's rank correlation with each of the weights."""
    n = len(examples)
    both = parts([*examples.texts, *examples.text_pairs])
    meaning, letters = (np.einsum("ij,ij->i", part[:n], part[n:]) for part in both)
    return [
        similarity_report(examples.labels, (1 - weight) * meaning + weight * letters, same_unit=False).spearman
        for weight in WEIGHTS
    ]


def _reciprocal_ranks(parts, examples: RetrievalPairs) -> np.ndarray:
    """The mean reciprocal rank with each of the weights."""
    questions, relevant = examples.questions()
    documents = parts(examples.documents.tolist(), "passage")
    asked = parts(questions)
    sums = np.zeros(len(WEIGHTS))
    for start in range(0, len(questions), QUESTIONS_AT_ONCE):
        meaning, letters = (q[start : start + QUESTIONS_AT_ONCE] @ d.T for q, d in zip(asked, documents, strict=True))
        for row, right in enumerate(relevant[start : start + QUESTIONS_AT_ONCE]):
            cosines = (1 - WEIGHTS[:, np.newaxis]) * meaning[row] + WEIGHTS[:, np.newaxis] * letters[row]
            best = cosines[:, list(right)].max(axis=1, keepdims=True)
            sums += 1.0 / (1 + (cosines > best).sum(axis=1))
    return sums / len(questions)
