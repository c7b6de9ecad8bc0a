"""Small SavedModels written by hand, without Keras, so that both Kerases load the very same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

WORDS = ["good", "bad", "film", "좋은", "영화"]
IDS = ("input_word_ids", "input_mask", "input_type_ids")
WIDTH = 8
L2 = 0.01


def write_text_embedding(folder: Path, seed: int = 0) -> Path:
    """Strings in, the mean of the words' vectors out; unknown words share the last row. Its vocabulary is an asset."""
    vocabulary = folder.parent / f"{folder.name}_words.txt"
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    root = tf.train.Checkpoint()
    values = np.random.default_rng(seed).normal(size=(len(WORDS) + 1, WIDTH)).astype("float32")
    root.embeddings = tf.Variable(values, name="embeddings")
    whole = tf.lookup.TextFileIndex
    root.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(vocabulary), tf.string, whole.WHOLE_LINE, tf.int64, whole.LINE_NUMBER, vocab_size=len(WORDS)
        ),
        num_oov_buckets=1,
    )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def embed(sentences):
        ids = tf.ragged.map_flat_values(root.table.lookup, tf.strings.split(sentences))
        vectors = tf.ragged.map_flat_values(lambda flat: tf.gather(root.embeddings, flat), ids)
        return tf.ensure_shape(tf.reduce_mean(vectors, axis=1), [None, WIDTH])

    root.__call__ = embed
    root.variables = [root.embeddings]
    root.trainable_variables = [root.embeddings]
    tf.saved_model.save(root, str(folder))
    return folder


def write_encoder(folder: Path, dropout: float = 0.0, l2: float = 0.0, seed: int = 0) -> Path:
    """An encoder in TF Hub's interface: embeddings, one dense block and a pooler, with the published variables' names."""
    rng = np.random.default_rng(seed)
    root = tf.train.Checkpoint()

    def variable(name, *shape):
        return tf.Variable(rng.normal(size=shape).astype("float32") * 0.5, name=name)

    root.words = variable("word_embeddings/embeddings", 20, WIDTH)
    root.kernel = variable("transformer/layer_0/dense/kernel", WIDTH, WIDTH)
    root.bias = variable("transformer/layer_0/dense/bias", WIDTH)
    root.pooler = variable("pooler_transform/kernel", WIDTH, WIDTH)
    root.do_lower_case = tf.Variable(True, trainable=False)

    def encode(inputs, training=False):
        hidden = tf.gather(root.words, inputs["input_word_ids"])
        hidden += tf.cast(inputs["input_type_ids"], tf.float32)[..., None]
        if training:
            hidden = tf.nn.dropout(hidden, rate=dropout)
        sequence = tf.tanh(hidden @ root.kernel + root.bias)
        mask = tf.cast(inputs["input_mask"], tf.float32)[..., None]
        pooled = tf.tanh((tf.reduce_sum(sequence * mask, 1) / tf.reduce_sum(mask, 1)) @ root.pooler)
        return {"default": pooled, "pooled_output": pooled, "sequence_output": sequence, "encoder_outputs": [sequence]}

    call = tf.function(encode)
    specs = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in IDS}
    for training in (True, False):
        call.get_concrete_function(specs, training=training)
    root.__call__ = call
    root.trainable_variables = [root.words, root.kernel, root.bias, root.pooler]
    root.variables = [*root.trainable_variables, root.do_lower_case]
    root.regularization_losses = [penalty(kernel, l2) for kernel in (root.kernel, root.pooler)] if l2 else []
    signature = tf.function(lambda **inputs: {k: encode(inputs)[k] for k in ("default", "sequence_output")})
    tf.saved_model.save(root, str(folder), signatures=signature.get_concrete_function(**specs))
    return folder


def penalty(kernel: tf.Variable, l2: float):
    """A regularization loss: a function without arguments."""
    return tf.function(lambda: l2 * tf.reduce_sum(kernel**2), input_signature=[])


def write_tf1_module(folder: Path) -> Path:
    """A module in the TF1 Hub format: no tags, a signature `default`, and the file that marks the format."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="x")
        factor = tf.compat.v1.get_variable("factor", initializer=2.0, use_resource=True)
        session.run(tf.compat.v1.global_variables_initializer())
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"default": x * factor, "sum": x + factor})
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, tags=[], signature_def_map={"default": signature})
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


@pytest.fixture(scope="session")
def modules(tmp_path_factory) -> Path:
    """A folder with all of them: text, encoder, encoder_dropout (with regularization), tf1."""
    folder = tmp_path_factory.mktemp("modules")
    write_text_embedding(folder / "text")
    write_encoder(folder / "encoder")
    write_encoder(folder / "encoder_dropout", dropout=0.5, l2=L2)
    write_tf1_module(folder / "tf1")
    return folder
