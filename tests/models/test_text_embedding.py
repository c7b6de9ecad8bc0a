"""TF Hub's text embedding modules (`nnlm-*`, Wiki-words): strings in, one vector out, used as they are."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, cache_features, export, load_encoder, load_exported, predict, text_classifier

WORDS = ["good", "great", "fine", "love", "좋다", "재미있다", "bad", "awful", "dull", "hate", "지루하다", "재미없다"]


@pytest.fixture(scope="module")
def nnlm(tmp_path_factory):
    """A module as `nnlm-*` are: words looked up in a table that is an asset, their vectors added up over the square root of the count."""
    folder = tmp_path_factory.mktemp("nnlm")
    (folder / "tokens.txt").write_text("\n".join(WORDS), "utf-8")
    root = tf.train.Checkpoint()
    root.embeddings = tf.Variable(np.random.default_rng(0).normal(size=(13, 16)).astype("float32"))
    line = tf.lookup.TextFileIndex
    root.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(folder / "tokens.txt"), tf.string, line.WHOLE_LINE, tf.int64, line.LINE_NUMBER, vocab_size=len(WORDS)
        ),
        num_oov_buckets=1,
    )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def embed(texts):
        words = tf.strings.split(tf.strings.regex_replace(texts, r"[.!]", ""))
        vectors = words.with_flat_values(tf.gather(root.embeddings, root.table.lookup(words.flat_values)))
        count = tf.cast(words.row_lengths(), tf.float32)[:, tf.newaxis]
        return tf.ensure_shape(tf.reduce_sum(vectors, axis=1) / tf.sqrt(tf.maximum(count, 1.0)), [None, 16])

    root.__call__ = embed
    root.variables = root.trainable_variables = [root.embeddings]
    tf.saved_model.save(root, str(folder / "module"))
    return folder / "module"


def test_a_classifier_on_strings(nnlm, reviews, tmp_path):
    encoder = load_encoder(str(nnlm))
    model = text_classifier(encoder, reviews.classes, "freeze", learning_rate=0.1, dropout=0.0)
    strings, labels = next(iter(encoder.batches(reviews, batch_size=2)))
    assert (strings.dtype, labels.numpy().tolist()) == (tf.string, reviews.labels[:2].tolist())
    # The vector is taken as it is: the module's own, through one dense layer.
    module = tf.saved_model.load(str(nnlm))
    kernel, bias = (w.numpy() for w in model.get_layer("logits").weights)
    np.testing.assert_allclose(
        model(strings).numpy(), tf.nn.softmax(module(strings).numpy() @ kernel + bias).numpy(), atol=1e-6
    )
    answers = predict(model, reviews.texts.tolist(), all_scores=True)
    served = predict(load_exported(export(model, tmp_path / "1")), reviews.texts.tolist(), all_scores=True)
    np.testing.assert_allclose(served.score_positive, answers.score_positive, atol=1e-6)
    with pytest.raises(UserError, match="nothing to read in order"):
        text_classifier(encoder, reviews.classes, recurrent="lstm")
    with pytest.raises(UserError, match="does not show its blocks"):
        text_classifier(encoder, reviews.classes, "gradual")


def test_vectors_computed_once(nnlm, reviews):
    model = text_classifier(load_encoder(str(nnlm)), reviews.classes, "freeze", learning_rate=0.1)
    cached = cache_features(model, reviews)
    features, labels = next(iter(cached.batches(reviews, batch_size=8)))
    np.testing.assert_allclose(features, tf.saved_model.load(str(nnlm))(tf.constant(reviews.texts[:8])), atol=1e-6)
    assert labels.numpy().tolist() == reviews.labels[:8].tolist()
    history = cached.model.fit(cached.batches(reviews, training=True, batch_size=8), epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
