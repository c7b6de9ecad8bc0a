"""ELMo vectors: the learned mix by hand, a biLM of our own and a TF1 module like elmo/3 in the same layer and network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import KerasLayer, UserError, load_encoder
from tl_keras._keras import keras
from tl_keras.models.body import pooled_features
from tl_keras.models.elmo import ElmoMix, contextual_vectors, load_elmo
from tl_keras.models.heads import ScalarMix
from tl_keras.pretraining.bilm.model import Bilm, BilmShape
from tl_keras.pretraining.bilm.saved_elmo import ElmoModule, elmo_module
from tl_keras.pretraining.bilm.word_batches import SPECIAL_WORDS, Lexicon

WORDS = [*SPECIAL_WORDS, "the", "film", "was", "good", "영화"]
TF1_WIDTH = 2


@pytest.fixture(scope="module")
def tf1(tmp_path_factory) -> Path:
    """A module in the TF1 Hub format with the signatures of elmo/3: no tags, two signatures, and the file that marks the format.

    `word_emb` is a row of a table by the hash of the word, `lstm_outputs1` it and its double, `lstm_outputs2` three times that.
    """
    folder = tmp_path_factory.mktemp("elmo") / "tf1"
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        table = v1.get_variable("bilm/char_embed", initializer=TABLE, use_resource=True)
        scale = v1.get_variable("aggregation/scaling", initializer=1.0, use_resource=True)

        def outputs(tokens, sequence_len):
            words = tf.gather(table, tf.strings.to_hash_bucket_fast(tokens, len(TABLE)))
            first = tf.concat([words, 2.0 * words], axis=-1)
            mixed = scale * (tf.concat([words, words], axis=-1) + 4.0 * first) / 3.0
            here = tf.sequence_mask(sequence_len, tf.shape(tokens)[1], dtype=tf.float32)[..., tf.newaxis]
            mean = tf.reduce_sum(mixed * here, axis=1) / tf.cast(sequence_len, tf.float32)[:, tf.newaxis]
            return {
                "word_emb": words,
                "lstm_outputs1": first,
                "lstm_outputs2": 3.0 * first,
                "elmo": mixed,
                "default": mean,
            }

        strings = v1.placeholder(tf.string, [None], name="strings")
        split = tf.strings.split(strings)
        tokens = v1.placeholder(tf.string, [None, None], name="tokens")
        sequence_len = v1.placeholder(tf.int32, [None], name="sequence_len")
        session.run(v1.global_variables_initializer())
        define = v1.saved_model.predict_signature_def
        signatures = {
            "default": define(
                {"strings": strings}, outputs(split.to_tensor(""), tf.cast(split.row_lengths(), tf.int32))
            ),
            "tokens": define({"tokens": tokens, "sequence_len": sequence_len}, outputs(tokens, sequence_len)),
        }
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, tags=[], signature_def_map=signatures)
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


TABLE = np.random.default_rng(0).normal(size=(50, TF1_WIDTH)).astype("float32")


def table_rows(*words: str) -> np.ndarray:
    return TABLE[tf.strings.to_hash_bucket_fast(list(words), len(TABLE)).numpy()]


def test_the_mix_and_its_gradients_by_hand():
    """softmax(0, ln 3) is a quarter and three; 2 (1/4 * 1 + 3/4 * 5) = 8."""
    mix = ScalarMix("sequence")
    inputs = [tf.constant([[[1.0], [7.0]]]), tf.constant([[[5.0], [7.0]]]), tf.constant([[1, 0]])]
    mix(inputs)
    mix.set_weights([np.log([1.0, 3.0]), np.array(2.0)])
    with tf.GradientTape() as tape:
        value = mix(inputs)
        total = tf.reduce_sum(value)
    np.testing.assert_allclose(value, [[[8.0], [0.0]]], rtol=1e-6)
    by_shares, by_scale = tape.gradient(total, mix.trainable_variables)
    # scale * share_j * (h_j - mean), and the mean
    np.testing.assert_allclose(by_shares, [2 * 0.25 * (1 - 4), 2 * 0.75 * (5 - 4)], rtol=1e-5)
    assert float(by_scale) == pytest.approx(4.0)


def test_layer_norm_is_of_each_text_alone():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 2, 4, 3)).astype("float32") * 5 + 2
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    result = ScalarMix("sequence", layer_norm=True)([tf.constant(x), tf.constant(y), tf.constant(mask)])
    for row, count in enumerate((3, 4)):
        parts = [layer[row, :count] for layer in (x, y)]
        expected = sum((part - part.mean()) / part.std() for part in parts) / 2
        np.testing.assert_allclose(result[row, :count], expected, atol=1e-4)
    assert (result.numpy()[0, 3] == 0).all()
    config = ScalarMix.from_config(ScalarMix("sequence", layer_norm=True).get_config())
    assert (config.mode, config.layer_norm) == ("sequence", True)


def test_our_module_has_the_documented_outputs(bilm_folder):
    layer = KerasLayer(str(bilm_folder))
    out = {name: value.numpy() for name, value in layer(tf.constant(["film! 영화 new", "", "the"])).items()}
    assert {name: value.shape for name, value in out.items()} == {
        "word_emb": (3, 4, 3), "lstm_outputs1": (3, 4, 6), "lstm_outputs2": (3, 4, 6), "elmo": (3, 4, 6), "default": (3, 6),
    }  # fmt: skip
    doubled = np.concatenate([out["word_emb"]] * 2, axis=-1)
    np.testing.assert_allclose(out["elmo"], (doubled + out["lstm_outputs1"] + out["lstm_outputs2"]) / 3, atol=1e-6)
    np.testing.assert_allclose(out["default"][0], out["elmo"][0].mean(0), atol=1e-6)
    np.testing.assert_allclose(out["default"][2], out["elmo"][2, 0], atol=1e-6)
    assert (out["default"][1] == 0).all()
    assert (out["lstm_outputs2"][2, 1:] == 0).all()
    # words that were split before, in another batch, with other padding
    tokens = KerasLayer(str(bilm_folder), signature="tokens", signature_outputs_as_dict=True)
    words = tf.constant([["film", "!", "영화", "new", "", "x"]])
    again = tokens({"tokens": words, "sequence_len": tf.constant([4])})
    for name in ("word_emb", "lstm_outputs1", "lstm_outputs2", "elmo"):
        np.testing.assert_allclose(again[name][0, :4], out[name][0], atol=1e-5)
        assert (again[name][0, 4:].numpy() == 0).all()
    alone = layer(tf.constant(["the"]))
    np.testing.assert_allclose(alone["lstm_outputs2"][0, 0], out["lstm_outputs2"][2, 0], atol=1e-5)
    assert [len(layer.weights), len(layer.trainable_weights)] == [21, 0]
    layer.trainable = True
    assert sorted(tuple(w.shape) for w in layer.trainable_weights) == [(), (3,)], "only the mix learns, as in elmo/3"
    facts = json.loads((bilm_folder / "assets.extra" / "bilm.json").read_text())
    assert facts == {"layers": 2, "width": 3, "tokens": "chars", "name": "tiny"}


def test_words_by_number_and_small_letters(tmp_path):
    """Unknown words are one word; the words' own vectors are the rows of the table. The vocabulary is saved with the module."""
    shape = BilmShape(vocabulary_size=8, width=3, tokens="words")
    model = Bilm(shape, seed=4)
    module = ElmoModule(model, WORDS, lower_case=True)
    out = module.of_strings(tf.constant(["FILM xyz 영화", "abc"]))
    table = model.embeddings.numpy()
    np.testing.assert_allclose(out["word_emb"][0], table[[4, 2, 7]])
    np.testing.assert_allclose(out["word_emb"][1], [table[2], [0, 0, 0], [0, 0, 0]])
    vectors = tf.gather(model.embeddings, [[0, 4, 2, 7, 1]])
    for layer, (ahead, back) in enumerate(model.states(vectors, tf.constant([5])), start=1):
        np.testing.assert_allclose(
            out[f"lstm_outputs{layer}"][0], np.concatenate([ahead, back], -1)[0, 1:-1], atol=1e-6
        )
    tf.saved_model.save(elmo_module(model, Lexicon(WORDS, 8, lower_case=True)), str(tmp_path / "m"))
    again = KerasLayer(str(tmp_path / "m"))(tf.constant(["FILM xyz 영화", "abc"]))
    np.testing.assert_allclose(again["elmo"], out["elmo"], atol=1e-6)
    empty = module.of_strings(tf.constant([], tf.string))
    assert (empty["elmo"].shape, empty["default"].shape) == ((0, 0, 6), (0, 6))


def test_a_bilm_is_a_text_embedding_encoder_too(bilm_folder):
    inputs, features = pooled_features(load_encoder(str(bilm_folder)), "freeze", "cls")
    texts = tf.constant(["the film", "good"])
    expected = KerasLayer(str(bilm_folder))(texts)["default"]
    np.testing.assert_allclose(keras.Model(inputs, features)(texts), expected, atol=1e-6)


def test_a_tf1_module_is_read_frozen_through_both_signatures(tf1):
    mean = KerasLayer(str(tf1))(tf.constant(["the film", "good"]))
    np.testing.assert_allclose(mean[1], _mixed(table_rows("good"))[0], rtol=1e-5)
    np.testing.assert_allclose(mean[0], _mixed(table_rows("the", "film")).mean(0), rtol=1e-5)
    layer = KerasLayer(str(tf1), signature="tokens", output_key="elmo")
    words = {"tokens": tf.constant([["the", "film"], ["good", ""]]), "sequence_len": tf.constant([2, 1])}
    np.testing.assert_allclose(layer(words)[0], _mixed(table_rows("the", "film")), rtol=1e-5)
    assert layer.trainable_weights == []
    layer.trainable = True
    with pytest.raises(UserError, match="TF1 Hub format, which cannot be trained: TF2 calls it through a signature"):
        layer(words)


def _mixed(rows: np.ndarray) -> np.ndarray:
    first = np.concatenate([rows, 2 * rows], axis=-1)
    return (np.concatenate([rows, rows], axis=-1) + first + 3 * first) / 3


@pytest.mark.parametrize("kind", ["bilm_folder", "tf1"])
def test_load_elmo_says_what_is_there(kind, request):
    elmo = load_elmo(request.getfixturevalue(kind))
    assert (elmo.layers, elmo.width) == (2, {"bilm_folder": 6, "tf1": 2 * TF1_WIDTH}[kind])
    assert elmo.outputs == ("word_emb", "lstm_outputs1", "lstm_outputs2")


def test_both_kinds_join_a_network_frozen(tf1):
    """The vectors at both places are the mixes; the mixes learn and the module does not."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), dtype="string", name="tokens")
    mask = keras.Input((None,), dtype="int32", name="mask")
    joined = contextual_vectors(tokens, mask, load_elmo(tf1), "both")
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Concatenate()([joined["input"], joined["output"]]))
    model = keras.Model([tokens, mask], keras.layers.Dense(1, name="head")(pooled))
    words = tf.constant([["the", "film", "was"], ["good", "x", ""]])
    batch = [words, tf.constant([[1, 1, 1], [1, 1, 0]])]
    parts = keras.Model(model.inputs, [joined["input"], joined["output"]])(batch)
    expected = _mixed(table_rows("good", "x"))
    for part in parts:
        np.testing.assert_allclose(part[1], [*expected, np.zeros(4)], rtol=1e-5)
    # two mixes of three weights and a scale, and the head
    assert sorted(tuple(w.shape) for w in model.trainable_weights) == sorted([(3,), (), (3,), (), (8, 1), (1,)])
    before = {w.name: w.numpy() for w in model.get_layer("elmo").weights}
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.train_on_batch(batch, np.array([[1.0], [-1.0]]))
    moved = [w.numpy() for w in model.get_layer("elmo_input").weights]
    assert all(np.abs(w - start).max() > 1e-4 for w, start in zip(moved, ([0.0] * 3, 1.0), strict=True))
    for weight in model.get_layer("elmo").weights:
        np.testing.assert_array_equal(weight.numpy(), before[weight.name])


def test_what_is_no_bilm(tiny_pair, tmp_path):
    with pytest.raises(UserError, match="is no biLM: it has no signature 'tokens'"):
        load_elmo(tiny_pair / "encoder")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UserError, match="is neither a SavedModel"):
        load_elmo(tmp_path)
    with pytest.raises(UserError, match="neither a file, a folder nor a preset"):
        load_elmo("elmo-that-is-not-there")
    with pytest.raises(UserError, match="join at input, output, both, not at 'middle'"):
        contextual_vectors(None, None, None, "middle")
    with pytest.raises(UserError, match=r"must come from load_elmo\(\.\.\.\), not be a str"):
        contextual_vectors(None, None, "elmo", "input")


def test_widths_of_words_are_doubled_only_where_they_are_half():
    words, layer = tf.ones([1, 2, 4]), 3.0 * tf.ones([1, 2, 4])
    np.testing.assert_allclose(ElmoMix()([words, layer, tf.constant([[1, 1]])]), 2.0 * np.ones((1, 2, 4)), rtol=1e-6)
