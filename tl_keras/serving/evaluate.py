"""Score a model, or an export of one, on examples with the right answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tl_keras.data.examples import Examples
from tl_keras.data.given import check_examples
from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.data.questions import QuestionExamples
from tl_keras.data.tagging import TaggedExamples
from tl_keras.errors import UserError
from tl_keras.evaluation.answers import (
    Normalisation,
    QuestionReport,
    best_null_threshold,
    normalisation_for,
    question_report,
    score_answers,
)
from tl_keras.evaluation.classification import (
    ClassificationReport,
    TaggingReport,
    classification_report,
    in_words,
    span_report,
)
from tl_keras.evaluation.similarity import (
    DEPTH,
    RetrievalReport,
    SimilarityReport,
    nearest,
    retrieval_report,
    similarity_report,
)
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.predict import as_predictor
from tl_keras.serving.scorers import Classifier, Regressor, SentenceEncoder
from tl_keras.serving.tagger import Tagger


def evaluate(
    model, examples: Examples | QuestionExamples | TaggedExamples, batch_size: int = 64
) -> ClassificationReport | QuestionReport | TaggingReport | SimilarityReport | RetrievalReport:
    """Score a model on examples with the right answers, in the terms of their task.

    Args:
        model: a Keras model of one of this package's builders, a path to an export or a run folder, or what `load_exported` gave.
        examples: labelled, tagged or scored, or questions; classes may come in another order than the model's.
        batch_size: texts in a batch.

    Raises:
        UserError: no labels, or a label that the model does not know.
    """
    if isinstance(examples, QuestionExamples):
        return evaluate_questions(model, examples, batch_size)
    if isinstance(examples, ScoredExamples):
        return evaluate_similarity(model, examples, batch_size)
    if isinstance(examples, RetrievalPairs):
        return evaluate_retrieval(model, examples, batch_size)
    if isinstance(examples, TaggedExamples):
        return evaluate_tagging(model, examples, batch_size)
    check_examples(examples)
    if examples.labels is None:
        raise UserError(f"{examples.source} has no labels to compare with.")
    predictor = as_predictor(model)
    if not isinstance(predictor, Classifier):
        raise UserError(
            f"the model gives no classes (it is for {predictor.task}); labelled examples need a model of text_classifier."
        )
    if predictor.multi_label != examples.multi_label:
        kind = "several labels a text" if predictor.multi_label else "one label a text"
        raise UserError(f"the model gives {kind}, {examples.source} does not; check the label separator.")
    if tuple(predictor.classes) != examples.classes:
        examples = Examples.from_lists(
            examples.texts, examples.label_names, examples.text_pairs, predictor.classes, examples.source
        )
    scores = predictor.scores(examples.texts, examples.text_pairs, batch_size)
    return classification_report(examples.labels, scores, predictor.classes)


def evaluate_questions(
    model, examples: QuestionExamples, batch_size: int = 32, normalisation: Normalisation = "auto"
) -> QuestionReport:
    """Score an answerer on questions with answers.

    Args:
        model: a Keras model of `question_answerer`, a path to an export or a run folder, or what `load_exported` gave.
        examples: with answers; those that do not stand where the data say count too, since texts are compared.
        batch_size: questions at once.
        normalisation: see `question_report`.

    Raises:
        UserError: no answers to compare with, or the model answers no questions.
    """
    if examples.answers is None:
        raise UserError(f"{examples.source} has no answers to compare with.")
    answerer = as_predictor(model)
    if not isinstance(answerer, Answerer):
        raise UserError("the model does not answer questions; these examples need a model of question_answerer.")
    right = [[answer.text for answer in given] for given in examples.answers]
    normalisation = normalisation_for(
        normalisation, [*examples.questions, *(text for given in right for text in given)]
    )
    found = answerer.candidates(examples.questions, examples.contexts, batch_size)
    spans = zip(examples.contexts, found.starts[:, 0], found.ends[:, 0], strict=True)
    best = [context[a:b] if a >= 0 else "" for context, a, b in spans]
    if not answerer.null_answers:
        return question_report(best, right, normalisation)
    margins = found.null_margins
    given = ["" if margin > answerer.null_threshold else text for text, margin in zip(best, margins, strict=True)]
    report = dataclasses.replace(question_report(given, right, normalisation), null_threshold=answerer.null_threshold)
    if not examples.is_impossible.any():
        return report
    f1 = score_answers(best, right, normalisation)[1]
    threshold, best_f1 = best_null_threshold(margins, f1, examples.is_impossible)
    return dataclasses.replace(report, best_null_threshold=threshold, best_f1=best_f1)


def evaluate_similarity(model, examples: ScoredExamples, batch_size: int = 64) -> SimilarityReport:
    """Score a regressor, or the cosines of a sentence encoder, on scored examples.

    Args:
        model: a Keras model of `text_regressor` or `sentence_encoder`, a path to an export or a run folder, or what
            `load_exported` gave.
        examples: with scores.
        batch_size: texts in a batch.

    Raises:
        UserError: the model gives no scores, or single texts are to be compared.
    """
    predictor = as_predictor(model)
    texts, pairs = examples.texts, examples.text_pairs
    if isinstance(predictor, SentenceEncoder):
        if pairs is None:
            raise UserError(f"{examples.source} holds single texts; a sentence encoder compares pairs (--text-pair).")
        return similarity_report(examples.labels, predictor.similarity(texts, pairs, batch_size), same_unit=False)
    if not isinstance(predictor, Regressor):
        raise UserError("the model gives no scores; scored examples need text_regressor or sentence_encoder.")
    return similarity_report(examples.labels, predictor.scores(texts, pairs, batch_size))


def evaluate_retrieval(
    model, pairs: RetrievalPairs, batch_size: int = 64, among: Sequence[str] = ()
) -> RetrievalReport:
    """Let each question search among all documents of the pairs, by exact cosine.

    Args:
        model: a Keras model of `sentence_encoder`, a path to an export or a run folder, or what `load_exported` gave.
        pairs: questions and their documents; a question that occurs with several documents is asked once.
        batch_size: texts in a batch.
        among: more documents to search in, which answer none of the questions.

    Raises:
        UserError: the model gives no vectors.
    """
    predictor = as_predictor(model)
    if not isinstance(predictor, SentenceEncoder):
        raise UserError("the model gives no vectors to search with; retrieval needs a model of sentence_encoder.")
    questions, relevant = pairs.questions()
    documents = list(dict.fromkeys([*pairs.documents, *among]))
    found, _ = nearest(
        predictor.unit_vectors(documents, batch_size, role="passage"),
        predictor.unit_vectors(questions, batch_size),
        DEPTH,
    )
    return retrieval_report(found.tolist(), relevant, len(documents))


def evaluate_tagging(model, examples: TaggedExamples, batch_size: int = 64) -> TaggingReport:
    """Score a tagger on texts with spans.

    Where the data come in words, both sides are compared in words: a word belongs to the first entity that touches it.

    Args:
        model: a Keras model of `token_classifier`, a path to an export or a run folder, or what `load_exported` gave.
        examples: with spans.
        batch_size: texts at once.

    Raises:
        UserError: no spans to compare with, a label that the model does not know, or the model is no tagger.
    """
    if examples.spans is None:
        raise UserError(f"{examples.source} has no entities to compare with.")
    tagger = as_predictor(model)
    if not isinstance(tagger, Tagger):
        raise UserError("the model labels whole texts; tagged examples need a model of token_classifier.")
    unknown = sorted({span.label for spans in examples.spans for span in spans} - set(tagger.labels))
    if unknown:
        raise UserError(
            f"{examples.source}: the labels {unknown[:10]} are not among those of the model, {list(tagger.labels)[:20]}. "
            "Training never saw them: add examples of them to the training data, or take them out."
        )
    predicted = [
        [(entity["start"], entity["end"], entity["label"]) for entity in found]
        for found in tagger.entities(examples.texts.tolist(), batch_size)
    ]
    if examples.words is None:
        return span_report(examples.spans, predicted, tagger.labels)
    true = [in_words(spans, words) for spans, words in zip(examples.spans, examples.words, strict=True)]
    predicted = [in_words(spans, words) for spans, words in zip(predicted, examples.words, strict=True)]
    return span_report(true, predicted, tagger.labels, "words")
