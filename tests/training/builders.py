"""Every builder with examples it can learn from: what the scripts beside this file train on one device and on several."""

from __future__ import annotations

import numpy as np

from tl_keras import (
    batches,
    bi_encoder,
    elmo_encoder,
    question_answerer,
    sentence_encoder,
    text_classifier,
    text_regressor,
    token_classifier,
    word_vector_encoder,
)
from tl_keras.data import Examples, QuestionExamples, RetrievalPairs, ScoredExamples, TaggedExamples
from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.models.recurrent import Recurrence

WORDS = ["good", "bad", "film", "the", "music", "actor", "love", "hate", "dull", "영화", "재미있다", "지루하다"]
BUILDERS = (
    "text_classifier", "token_classifier", "question_answerer", "text_regressor", "bi_encoder", "bi_encoder_ranking", "bi_encoder_in_batch",
    "bi_encoder_contrastive", "word_vectors", "elmo",
)  # fmt: skip
TRANSFERS = ("freeze", "fine-tune", "gradual")
RATE = 0.01


def texts(rows: int, seed: int = 0) -> list[str]:
    """Texts of one to nine words."""
    rng = np.random.default_rng(seed)
    return [" ".join(WORDS[i] for i in rng.integers(len(WORDS), size=rng.integers(1, 10))) for _ in range(rows)]


def build(name: str, encoder, transfer, rows: int = 64, **options):
    """A compiled model without dropout, and its batches for training.

    Args:
        name: one of `BUILDERS`.
        encoder: of `load_encoder`; for ELMo the folder of its biLM.
        transfer: what learns.
        rows: examples.
        **options: of the batches: `batch_size`, `fixed_length`, `drop_remainder`, `seed`.
    """
    options = {"training": True, "batch_size": 8, "seed": 1, **options}
    given = texts(rows)
    if name == "text_classifier":
        examples = Examples.from_lists(given, ["p" if "good" in text else "n" for text in given])
        model = text_classifier(encoder, examples.classes, transfer, dropout=0.0, learning_rate=RATE)
        return model, encoder.batches(examples, **options)
    if name == "word_vectors":
        examples = Examples.from_lists(given, ["p" if "good" in text else "n" for text in given])
        vectors = WordVectors(WORDS, np.random.default_rng(5).normal(size=(len(WORDS), 6)), source="tiny.vec")
        encoder = word_vector_encoder(vectors, given, seq_length=16)
        network = Recurrence(units=4)
        model = text_classifier(
            encoder, examples.classes, transfer, pooling="max", recurrent=network, dropout=0.0, learning_rate=RATE
        )
        return model, encoder.batches(examples, **options)
    if name == "elmo":
        examples = Examples.from_lists(given, ["p" if "good" in text else "n" for text in given])
        encoder = elmo_encoder(encoder, texts=given, seq_length=16)
        network = Recurrence(units=4)
        model = text_classifier(
            encoder, examples.classes, pooling="max", recurrent=network, dropout=0.0, learning_rate=RATE
        )
        return model, encoder.batches(examples, **options)
    if name == "token_classifier":
        words = [text.split() for text in given]
        # Some texts have many tags and some none, so that replicas differ.
        tags = [["B-A" if word in ("good", "bad") else "O" for word in row] for row in words]
        examples = TaggedExamples.from_words(words, tags)
        model = token_classifier(encoder, examples.tag_set, transfer, dropout=0.0, learning_rate=RATE)
        return model, encoder.tagging_batches(examples, **options)
    if name == "question_answerer":
        answers = [[{"text": t.split()[-1], "answer_start": t.rindex(t.split()[-1])}] for t in given]
        model = question_answerer(encoder, transfer, dropout=0.0, learning_rate=RATE)
        # There are more windows than texts: their last batch need not divide among replicas, which then weigh its rows differently.
        options = {"drop_remainder": True, **options}
        return model, batches(model, QuestionExamples.from_lists(["what ?"] * rows, given, answers), **options)
    scores = [len(text) % 7 for text in given]
    if name == "text_regressor":
        examples = ScoredExamples.from_lists(given, scores, score_range=(0, 6))
        model = text_regressor(encoder, (0, 6), transfer, dropout=0.0, learning_rate=RATE)
        return model, encoder.batches(examples, **options)
    # On a frozen encoder, the matrix is what learns.
    inner = sentence_encoder(encoder, transfer, dimensions="same")
    if name == "bi_encoder_in_batch":
        # Some questions share a document.
        pairs = RetrievalPairs.from_lists(given, [f"the {text.split()[0]} film" for text in given])
        return bi_encoder(inner, "in-batch", learning_rate=RATE), encoder.pair_batches(pairs, **options)
    pairs = ScoredExamples.from_lists(given, scores, texts(rows, 1), score_range=(0, 6))
    loss = name.removeprefix("bi_encoder_") if name != "bi_encoder" else "cosine"
    if loss == "contrastive":
        pairs = ScoredExamples.from_lists(given, [score % 2 for score in scores], texts(rows, 1), score_range=(0, 1))
        return bi_encoder(inner, loss, learning_rate=RATE), encoder.pair_batches(pairs, **options)
    towers = bi_encoder(inner, loss, score_range=(0, 6), learning_rate=RATE)
    return towers, encoder.pair_batches(pairs, **options)
