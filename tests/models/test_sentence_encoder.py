"""The bi-encoder: its vectors, what its towers learn, and its lexical part."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer

from tl_keras import UserError, choose_lexical_weight, evaluate, load_model, predict
from tl_keras._keras import keras
from tl_keras.data import Examples
from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.models.pair_builders import bi_encoder, sentence_encoder
from tl_keras.models.similarity_losses import CosineRegression
from tl_keras.serving.encode import encode

TEXTS = ["the film was good", "bad", "", "   ", "😀👍", "영화 좋다", "boring plot , awful music", "good film " * 10_000]


@pytest.fixture(scope="module")
def plain(tiny_pair):
    """A sentence encoder as it is, without training."""
    from tl_keras import load_encoder

    return sentence_encoder(load_encoder(str(tiny_pair), seq_length=32), "freeze")


def test_vectors_are_the_normalised_mean_of_the_tokens(encoder, plain):
    vectors = encode(plain, TEXTS)
    batch = next(iter(encoder.batches(TEXTS)))
    outputs = tf.saved_model.load(encoder.folder)(batch, training=False)["sequence_output"].numpy()
    for row, vector in enumerate(vectors):
        tokens = outputs[row][batch["input_mask"].numpy()[row] == 1]
        np.testing.assert_allclose(vector, tokens.mean(0) / np.linalg.norm(tokens.mean(0)), atol=1e-5)
    np.testing.assert_allclose(plain.predict(TEXTS, verbose=0), vectors, atol=1e-5)
    assert encode(plain, []).shape == (0, 16)
    with pytest.raises(UserError, match="list of strings"):
        encode(plain, "one text")
    with pytest.raises(UserError, match="entry 2 is int"):
        encode(plain, ["a", 2])


def test_predict_gives_vectors_or_the_cosine_of_pairs(plain):
    alone = predict(plain, TEXTS[:2])
    assert alone.columns.tolist() == ["text", "embedding"]
    pairs = predict(plain, TEXTS[:2], TEXTS[1:3])
    assert pairs.columns.tolist() == ["text", "text_pair", "score"]
    vectors = encode(plain, TEXTS[:3])
    np.testing.assert_allclose(pairs.score, (vectors[:2] * vectors[1:]).sum(1), atol=1e-6)


def test_towers_learn_to_find_the_document_and_train_the_encoder_itself(encoder):
    # By default nothing tells that "good" is answered by "music": the pairs do.
    pairs = RetrievalPairs.from_lists(
        ["good", "bad", "fine", "dull", "great", "awful"] * 60, ["music", "plot", "film", "actor", "영화", "정말"] * 60
    )
    keras.utils.set_random_seed(0)
    model = sentence_encoder(encoder, "freeze", dimensions="same")
    # The matrix begins as the identity: nothing is lost before training.
    np.testing.assert_allclose(encode(model, TEXTS), encode(sentence_encoder(encoder, "freeze"), TEXTS), atol=1e-6)
    before = evaluate(model, pairs).mrr
    towers = bi_encoder(model, "in-batch", learning_rate=0.03)
    towers.fit(encoder.pair_batches(pairs, training=True, batch_size=12), epochs=1, verbose=0)
    assert before < 0.7
    assert evaluate(model, pairs).mrr == 1.0
    # The towers stand for the encoder they share.
    np.testing.assert_array_equal(encode(towers, TEXTS), encode(model, TEXTS))


def test_towers_of_scored_pairs_give_cosines_and_are_saved(encoder, tmp_path):
    pairs = ScoredExamples.from_lists(["good film", "bad"] * 4, [5, 1] * 4, ["great film", "plot"] * 4)
    model = sentence_encoder(encoder, "freeze", dimensions=4, normalize=False)
    towers = bi_encoder(model, score_range=pairs.score_range, learning_rate=0.05)
    inputs, _ = next(iter(encoder.pair_batches(pairs, batch_size=8)))
    vectors = [encode(model, texts) for texts in (pairs.texts, pairs.text_pairs)]
    assert vectors[0].shape == (8, 4)
    assert not np.allclose(np.linalg.norm(vectors[0], axis=1), 1)
    expected = (vectors[0] * vectors[1]).sum(1) / np.prod([np.linalg.norm(v, axis=1) for v in vectors], axis=0)
    np.testing.assert_allclose(towers(inputs).numpy(), expected, atol=1e-5)
    # Lists and scores are the same batches.
    texts = (pairs.texts.tolist(), pairs.text_pairs.tolist())
    given = [towers.evaluate(x, verbose=0) for x in (encoder.pair_batches(pairs), pairs)]
    assert [towers.evaluate(texts, [5, 1] * 4, verbose=0)] * 2 == pytest.approx(given, abs=1e-6)
    towers.save(tmp_path / "towers.keras")
    again = load_model(tmp_path / "towers.keras")
    assert isinstance(again.loss, CosineRegression)
    assert again.loss.get_config() == towers.loss.get_config()
    np.testing.assert_allclose(encode(again, TEXTS), encode(model, TEXTS), atol=1e-6)


HANGUL = re.compile("[가-힣]")
LETTERS = [
    "the film was good",
    "the film was bad",
    "a very dull plot",
    "great music , good actor",
    "the plot the plot 재미있다 재미",
]


def tf_idf(encoder, vocabulary, texts) -> np.ndarray:
    """Of WordPiece tokens, Hangul ones character by character, by scikit-learn; rows of length 1."""
    tokens = encoder.preprocessor.tokenize(tf.constant(texts)).merge_dims(1, 2).to_list()
    split = [[u for i in row for u in HANGUL.findall(vocabulary[i]) or [vocabulary[i]]] for row in tokens]
    return TfidfVectorizer(analyzer=lambda row: row).fit_transform(split).toarray()


def test_the_lexical_part_is_the_cosine_of_tf_idf(encoder, vocabulary):
    model = sentence_encoder(encoder, "freeze", lexical_weight=0.25, lexical_texts=LETTERS, lexical_dimensions=4096)
    meaning = encode(sentence_encoder(encoder, "freeze"), LETTERS)
    weights = tf_idf(encoder, vocabulary, LETTERS)
    expected = 0.75 * meaning @ meaning.T + 0.25 * weights @ weights.T
    joined = encode(model, LETTERS)
    # Random vectors are at right angles up to 1 / sqrt(4096), times the share.
    np.testing.assert_allclose(joined @ joined.T, expected, atol=0.25 * 4 / 64)
    np.testing.assert_allclose(np.linalg.norm(joined, axis=1), 1, atol=1e-5)
    assert np.isfinite(encode(model, ["", " ", "😀", "film " * 20_000])).all()


def test_the_share_of_letters_is_the_best_on_the_examples(encoder, vocabulary, tmp_path):
    model = sentence_encoder(encoder, "freeze", lexical_weight=0.5, lexical_texts=LETTERS, lexical_dimensions=2048)
    weights = tf_idf(encoder, vocabulary, LETTERS)
    meaning = encode(sentence_encoder(encoder, "freeze"), LETTERS)
    first, second = zip(*itertools.combinations(range(5), 2), strict=True)
    texts = [LETTERS[i] for i in first], [LETTERS[i] for i in second]
    for vectors, least, most in ((weights, 0.3, 1.0), (meaning, 0.0, 0.0)):
        scores = (vectors[list(first)] * vectors[list(second)]).sum(1)
        pairs = ScoredExamples.from_lists(texts[0], scores, texts[1])
        share = choose_lexical_weight(model, pairs)
        assert least <= share <= most
        assert evaluate(model, pairs).pearson > 0.98
    # Questions that are parts of their document share its letters.
    pairs = RetrievalPairs.from_lists(
        ["very dull", "great music", "film bad", "film good"], [LETTERS[i] for i in (2, 3, 1, 0)]
    )
    model.get_layer("joined").weight.assign(0.0)
    before, share = evaluate(model, pairs).mrr, choose_lexical_weight(model, pairs)
    assert share > 0
    assert evaluate(model, pairs).mrr == 1.0 > before
    model.save(tmp_path / "m.keras")
    assert float(load_model(tmp_path / "m.keras").get_layer("joined").weight) == pytest.approx(share)
    with pytest.raises(UserError, match="has no lexical part"):
        choose_lexical_weight(sentence_encoder(encoder, "freeze"), pairs)
    with pytest.raises(UserError, match="scored pairs"):
        choose_lexical_weight(model, Examples.from_lists(["a"]))


def test_whitened_vectors_have_the_identity_as_covariance(encoder):
    words = ["the", "film", "was", "good", "bad", "very", "dull", "plot", "music", "actor"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 9))) for _ in range(80)]
    model = sentence_encoder(encoder, "freeze", whiten_texts=texts, dimensions=6, normalize=False)
    different = list(dict.fromkeys(texts))
    vectors = encode(model, different)
    assert vectors.shape[1] == 6
    np.testing.assert_allclose(vectors.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(vectors.T), np.eye(6), atol=1e-3)
    for options, message in (
        ({"whiten_texts": texts[:5]}, "too few to whiten"),
        ({"whiten_texts": texts, "dimensions": 17}, "more than"),
    ):
        with pytest.raises(UserError, match=message):
            sentence_encoder(encoder, "freeze", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transfer": "thaw"}, "choose one of: freeze, fine-tune"),
        ({"pooling": "sum"}, "choose one of: cls, mean, max"),
        ({"dimensions": 0}, "dimensions must be"),
        ({"dimensions": "wide"}, "dimensions must be"),
        ({"lexical_weight": 1.0}, "below 1"),
        ({"lexical_weight": 0.5}, "needs lexical_texts"),
    ],
)
def test_wrong_options(encoder, options, message):
    with pytest.raises(UserError, match=message):
        sentence_encoder(encoder, **options)


def test_what_cannot_be_trained(encoder, plain):
    with pytest.raises(UserError, match="nothing in this sentence encoder learns"):
        bi_encoder(plain)
    with pytest.raises(UserError, match="build it with sentence_encoder"):
        bi_encoder(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(UserError, match="choose one of: cosine, ranking, contrastive, in-batch"):
        bi_encoder(sentence_encoder(encoder, "freeze", dimensions="same"), "triplet")
