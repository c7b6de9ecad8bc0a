"""Answerers: windows and labels, the head, decoding against brute force, what is learned, slices of the context."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, load_encoder, predict
from tl_keras._keras import keras
from tl_keras.data.questions import QuestionExamples
from tl_keras.encoders.load import encoder_of
from tl_keras.models.pair_builders import question_answerer
from tl_keras.models.pair_heads import IMPOSSIBLE, SpanAccuracy, SpanLogProbabilities, span_crossentropy
from tl_keras.models.text_labels import batches
from tl_keras.serving.evaluate import evaluate_questions
from tl_keras.serving.predict import as_predictor
from tl_keras.text.offsets import Tokens
from tl_keras.text.windows import WindowSettings, best_in_windows, context_windows


def ask(question, context, *answers) -> QuestionExamples:
    return QuestionExamples.from_lists(
        [question], [context], [[{"text": a, "answer_start": context.index(a)} for a in answers]]
    )


@pytest.fixture(scope="module")
def frozen(tiny_pair):
    """A model with random weights, spread out: every token gets its own scores, and windows disagree."""
    model = question_answerer(load_encoder(str(tiny_pair), seq_length=32), "freeze")
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 1, kernel.shape))
    return model


def test_the_label_is_the_answers_place_in_the_input(frozen, vocabulary):
    examples = ask("the film ?", "i love good music , 재미있다!", "good music")
    ((inputs, places),) = batches(frozen, examples)
    # [CLS] the film ? [SEP] i love good music , 재미 ##있다 ! [SEP], padded to a multiple of 4.
    ids = inputs["input_word_ids"].numpy()[0]
    assert [vocabulary[i] for i in ids] == [
        "[CLS]", "the", "film", "?", "[SEP]", "i", "love", "good", "music", ",", "재미", "##있다", "!", "[SEP]", *["[PAD]"] * 2,
    ]  # fmt: skip
    assert inputs["input_type_ids"].numpy()[0].tolist() == [0] * 5 + [1] * 9 + [0] * 2
    assert places.numpy().tolist() == [[7, 8]]
    # An answer that ends inside a word, one that begins inside a token, and none at all.
    for answer, place in (("재미", [10, 10]), ("usic ,", [8, 9])):
        assert next(iter(batches(frozen, ask("the film ?", examples.contexts[0], answer))))[1].numpy().tolist() == [
            place
        ]
    ((_, places),) = batches(frozen, QuestionExamples.from_lists(["the film ?"], ["i love"], [[]]))
    assert places.numpy().tolist() == [[0, 0]]


def test_long_contexts_go_through_windows_with_the_question_in_each(frozen, vocabulary):
    context = "good " * 30 + "music " + "bad " * 29
    ((inputs, places),) = batches(frozen, ask("the film ?", context, "music"))
    ids = inputs["input_word_ids"].numpy()
    # 60 tokens; 32 - 3 - 3 = 26 in a window, 13 shared, so 1 + ceil(34 / 13) = 4; the last begins at 34.
    assert len(ids) == 4
    assert all([vocabulary[i] for i in row[:5]] == ["[CLS]", "the", "film", "?", "[SEP]"] for row in ids)
    starts = [0, 13, 26, 34]
    tokens = context.split()
    for row, start in zip(ids, starts, strict=True):
        assert [vocabulary[i] for i in row[5:31]] == tokens[start : start + 26]
    # Token 30 is in the windows that begin at 13 and at 26.
    assert places.numpy().tolist() == [[0, 0], [22, 22], [9, 9], [0, 0]]


def test_an_answer_that_no_window_holds_whole_is_counted(frozen, caplog):
    context = "good " * 80
    examples = ask("the ?", context, context.strip()[: 5 * 40 - 1])
    with caplog.at_level(logging.WARNING, "tl_keras"):
        windows = list(batches(frozen, examples, training=True))
    assert "1 of 1 answers are not whole in any window" in caplog.text
    assert all(np.all(places.numpy() == 0) for _, places in windows)


def test_a_long_question_is_cut_and_counted(frozen, caplog):
    examples = ask("the film " * 50, "i love music", "music")
    with caplog.at_level(logging.WARNING, "tl_keras"):
        ((inputs, places),) = batches(frozen, examples, training=True)
    assert "1 of 1 questions are longer than 16 tokens and are cut there" in caplog.text
    assert int(inputs["input_type_ids"].numpy()[0].sum()) == 4  # i love music [SEP]
    assert places.numpy().tolist() == [[20, 20]]
    (answer,) = as_predictor(frozen).answers(["the film " * 50], ["i love music"])
    assert answer["answer"] == "i love music"[answer["start"] : answer["end"]] != ""


def test_windows_hold_every_span_as_long_as_the_overlap():
    rng = np.random.default_rng(0)
    for settings in (WindowSettings(32), WindowSettings(20, 6, overlap=5), WindowSettings(12, 4, overlap=0)):
        asked = rng.integers(0, settings.max_question_length + 1, size=30)
        counts = np.array([*rng.integers(0, 90, size=27), 0, 1, settings.room(0)])
        rows, starts, lengths = (part.numpy() for part in context_windows(asked, counts, settings))
        for row, (q, count) in enumerate(zip(asked, counts, strict=True)):
            mine = [(s, s + n) for r, s, n in zip(rows, starts, lengths, strict=True) if r == row]
            assert {p for a, b in mine for p in range(a, b)} == set(range(count))
            assert all(b - a == min(settings.room(int(q)), count) for a, b in mine)
            shared = settings.room(int(q)) - settings.step(int(q))
            for first in range(max(count - shared, 0)):
                assert any(a <= first and first + shared <= b for a, b in mine)
            assert len(mine) == 1 or len(mine) == 1 + -(-(count - settings.room(int(q))) // settings.step(int(q)))


def test_head_loss_and_accuracy_by_definition():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 8, 2)).astype("float32")
    types = np.array([[0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0, 0, 0]])
    found = SpanLogProbabilities()([tf.constant(logits), tf.constant(mask), tf.constant(types)]).numpy()
    # The last place of the second segment is its [SEP]; a context without tokens leaves only [CLS].
    for row, places in ((0, [0, 3, 4, 5]), (1, [0])):
        odds = np.exp(logits[row, places])
        np.testing.assert_allclose(np.exp(found[row, places]), odds / odds.sum(0), rtol=1e-5)
        others = [i for i in range(8) if i not in places]
        assert np.all(found[row, others] == IMPOSSIBLE)
    labels = np.array([[3, 5], [0, 0]])
    losses = span_crossentropy(tf.constant(labels), tf.constant(found)).numpy()
    np.testing.assert_allclose(losses, [-(found[0, 3, 0] + found[0, 5, 1]) / 2, 0.0], rtol=1e-6)
    metric = SpanAccuracy()
    best = found.argmax(1)
    metric.update_state(tf.constant([best[0], best[0] + [0, 1], [0, 0]]), tf.constant(found[[0, 0, 1]]))
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_best_spans_are_those_of_exhaustive_search():
    rng = np.random.default_rng(2)
    scores = np.log(rng.dirichlet(np.full(9, 0.5), size=(20, 2)).transpose(0, 2, 1) + 1e-9).astype("float32")
    scores[:, 1:3] = IMPOSSIBLE  # the question
    scores[:10, 7:] = IMPOSSIBLE  # padding
    for longest in (1, 3, 20):
        firsts, lasts, totals = (part.numpy() for part in best_in_windows(tf.constant(scores), longest, 30))
        for row in range(20):
            end = 7 if row < 10 else 9
            spans = [(i, j) for i in range(3, end) for j in range(i, min(i + longest, end))]
            expected = sorted((-float(scores[row, i, 0] + scores[row, j, 1]) for i, j in spans))
            real = totals[row] > IMPOSSIBLE / 2
            assert real.sum() == min(len(spans), 30)
            np.testing.assert_allclose(-totals[row][real], expected[:30], rtol=1e-5)
            assert set(zip(firsts[row][real], lasts[row][real], strict=True)) <= set(spans)


CONTEXTS = [
    "the music good was. 영화 재미있다! i love it",
    "film " * 70 + "정말 great",
    "a",
]
QUESTIONS = ["the film ?", "영화 재미?", "x"]


def by_hand(model, question, context) -> tuple[dict, float]:
    """All spans' best log scores and the null score, window by window, in plain Python."""
    encoder, head = as_predictor_parts(model)
    settings = head.windows(encoder)
    asked: Tokens = encoder.offset_tokenizer([question])
    read: Tokens = encoder.offset_tokenizer([context])
    q = asked.ids.to_list()[0][: settings.max_question_length]
    ids, starts, ends = (part.to_list()[0] for part in (read.ids, read.starts, read.ends))
    special = encoder.preprocessor.special_tokens
    cls, sep = special["start_of_sequence_id"], special["end_of_segment_id"]
    room, step = settings.room(len(q)), settings.step(len(q))
    begins = [0] if len(ids) <= room else [*range(0, len(ids) - room, step), len(ids) - room]
    best, null = {}, np.inf
    for begin in begins:
        part = ids[begin : begin + room]
        row = [cls, *q, sep, *part, sep]
        inputs = {
            "input_word_ids": [row],
            "input_mask": [[1] * len(row)],
            "input_type_ids": [[0] * (len(q) + 2) + [1] * (len(part) + 1)],
        }
        scores = np.asarray(model({k: tf.constant(v, tf.int32) for k, v in inputs.items()}, training=False))[0]
        null = min(null, float(scores[0].sum()))
        for i, j in itertools.combinations_with_replacement(range(len(part)), 2):
            if j - i < head.max_answer_length:
                total = float(scores[len(q) + 2 + i, 0] + scores[len(q) + 2 + j, 1])
                key = (starts[begin + i], ends[begin + j])
                best[key] = max(best.get(key, -np.inf), total)
    return best, null


def as_predictor_parts(model):
    from tl_keras.models.pair_heads import span_head_of

    return encoder_of(model), span_head_of(model)


def test_answers_are_the_best_spans_over_all_windows(frozen):
    found = as_predictor(frozen).candidates(QUESTIONS, CONTEXTS)
    for row, (question, context) in enumerate(zip(QUESTIONS, CONTEXTS, strict=True)):
        best, null = by_hand(frozen, question, context)
        top = sorted(best.items(), key=lambda item: -item[1])[:20]
        real = found.starts[row] >= 0
        assert real.sum() == min(20, len(best))
        np.testing.assert_allclose(found.log_scores[row][real], [score for _, score in top], atol=1e-4)
        spans = list(zip(found.starts[row][real].tolist(), found.ends[row][real].tolist(), strict=True))
        assert len(set(spans)) == len(spans)
        np.testing.assert_allclose([best[span] for span in spans], found.log_scores[row][real], atol=1e-4)
        assert found.null_log_scores[row] == pytest.approx(null, abs=1e-4)


def test_n_best_thresholds_and_slices(frozen):
    answerer = as_predictor(frozen)
    plain = answerer.answers(QUESTIONS, CONTEXTS)
    assert all(a["answer"] == c[a["start"] : a["end"]] for a, c in zip(plain, CONTEXTS, strict=True))
    several = answerer.answers(QUESTIONS, CONTEXTS, n_best=3)
    assert [len(row["n_best"]) for row in several] == [3, 3, 1]
    assert [row["n_best"][0] for row in several] == plain
    head = frozen.get_layer("spans")
    head.null_answers = True
    try:
        margins = answerer.candidates(QUESTIONS, CONTEXTS).null_margins
        middle = float(np.sort(margins)[1])
        given = as_predictor(frozen).answers(QUESTIONS, CONTEXTS, null_threshold=middle)
        # Above the threshold none is given: exactly the largest margin's.
        assert [row["answer"] == "" for row in given] == (margins > middle).tolist()
        silent = given[int(margins.argmax())]
        assert (silent["start"], silent["end"]) == (-1, -1)
        assert silent["score"] == silent["null_score"]
    finally:
        head.null_answers = False


@pytest.mark.parametrize(
    "context",
    ["", "   ", "\u200b", "🙂🙂🙂", "👩\u200d👩\u200d👧 film", "e\u0301" * 40, "\x00\r\n\t", "영" * 200, "ＡＢ ﬁlm ß"],
    ids=range(9),
)
def test_odd_contexts(frozen, context):
    (row,) = as_predictor(frozen).answers(["the film ?"], [context])
    assert row["answer"] == context[row["start"] : row["end"]]
    assert (row["start"] == -1) == (not row["answer"])
    assert bool(row["answer"]) == bool(context.strip(" \u200b\x00\r\n\t"))
    (row,) = as_predictor(frozen).answers([context], ["the film"])
    assert row["answer"] == "the film"[row["start"] : row["end"]] != ""


def test_a_hundred_thousand_characters(frozen):
    context = "the music good " * 6700
    (row,) = as_predictor(frozen).answers(["film"], [context])
    assert row["answer"] == context[row["start"] : row["end"]] != ""


def test_batch_size_and_neighbours_do_not_matter(frozen):
    questions, contexts = QUESTIONS * 3, [*CONTEXTS, *CONTEXTS[1:], *CONTEXTS[:1], *CONTEXTS[2:], *CONTEXTS[:2]]
    together = predict(frozen, questions, contexts)
    apart = [predict(frozen, [q], [c]).iloc[0] for q, c in zip(questions[:4], contexts[:4], strict=True)]
    assert together.columns.tolist() == ["question", "context", "answer", "start", "end", "score"]
    for row, one in enumerate(apart):
        assert (together.start[row], together.end[row]) == (one.start, one.end)
        assert together.score[row] == pytest.approx(one.score, abs=1e-5)
    assert predict(frozen, [], []).columns.tolist() == together.columns.tolist()


@pytest.fixture(scope="module")
def opinions():
    """Sixty contexts in which the answer is an adjective and a noun, somewhere among fillers."""
    rng = np.random.default_rng(4)
    filler = ["the", "was", "it", "i", "this", "is", ","]
    contexts, answers = [], []
    for _ in range(60):
        before, behind = (list(rng.choice(filler, size=rng.integers(0, 6))) for _ in range(2))
        answer = f"{rng.choice(['good', 'bad', 'dull'])} {rng.choice(['film', 'plot', 'music'])}"
        contexts.append(" ".join([*before, answer, *behind, "."]))
        answers.append([(answer, contexts[-1].index(answer))])
    return QuestionExamples.from_lists(["what ?"] * 60, contexts, answers)


def test_it_learns_where_the_answer_is(tiny_pair, opinions, tmp_path):
    keras.utils.set_random_seed(0)
    model = question_answerer(load_encoder(str(tiny_pair), seq_length=32), "freeze", learning_rate=5e-2)
    before = [w.numpy() for w in model.get_layer("encoder").weights]
    # Two epochs of all questions twenty times: quicker than forty epochs.
    often = opinions.take(np.tile(np.arange(60), 20))
    ((inputs, places),) = batches(model, often, training=True, batch_size=len(often))
    model.fit(inputs, places, batch_size=12, epochs=2, verbose=0)
    assert evaluate_questions(model, opinions).exact_match >= 0.8
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.get_layer("encoder").weights, strict=True))
    model.get_layer("spans").null_threshold = 1.5
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.get_layer("spans").get_config() == model.get_layer("spans").get_config()
    assert again.get_layer("spans").null_threshold == 1.5
    np.testing.assert_allclose(again(inputs, training=False), model(inputs, training=False), atol=1e-5)


def test_wrong_calls(frozen, encoder, monkeypatch):
    answerer = as_predictor(frozen)
    with pytest.raises(UserError, match="questions and what they are about"):
        predict(frozen, ["a"])
    with pytest.raises(UserError, match="not one string"):
        answerer.answers("a", ["b"])
    with pytest.raises(UserError, match="2 questions but 1 contexts"):
        answerer.answers(["a", "b"], ["c"])
    with pytest.raises(UserError, match="n_best must be 1 to 20"):
        answerer.answers(["a"], ["b"], n_best=0)
    with pytest.raises(UserError, match="no answers to learn from"):
        batches(frozen, QuestionExamples.from_lists(["a"], ["b"]))
    with pytest.raises(UserError, match="no answers to compare with"):
        evaluate_questions(frozen, QuestionExamples.from_lists(["a"], ["b"]))
    for options, message in (
        ({"max_question_length": 29}, "leaves no room for the context in seq_length=32: choose 1 to 28"),
        ({"overlap": 13}, "cannot overlap by 13: choose 0 to 12"),
        ({"max_answer_length": 0}, "at least 1 token"),
        ({"dropout": 1.0}, "below 1"),
        ({"transfer": "thaw"}, "choose one of: freeze, fine-tune"),
    ):
        with pytest.raises(UserError, match=message):
            question_answerer(encoder, **options)
    monkeypatch.setattr(encoder, "preprocessor_folder", None)
    with pytest.raises(UserError, match="needs a BERT-like encoder"):
        question_answerer(encoder)
