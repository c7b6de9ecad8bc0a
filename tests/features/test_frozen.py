"""Frozen features computed once: the head takes the very same steps, and a cache of anything else is refused."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, text_classifier
from tl_keras._keras import keras
from tl_keras.data import Examples
from tl_keras.data.pairs import ScoredExamples
from tl_keras.features import frozen
from tl_keras.features import store as feature_store
from tl_keras.features.frozen import cache_features
from tl_keras.features.split import CannotSplit
from tl_keras.models.builders import text_regressor, token_classifier
from tl_keras.models.transfer_control import set_transfer
from tl_keras.training.callbacks import BestWeights

WIDTH = 8  # of the encoders in tests/stacks.py


def head_weights(model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.trainable_weights]


def test_the_head_takes_the_same_steps_as_without_the_cache(stack, reviews):
    results = []
    for cached in (False, True):
        keras.utils.set_random_seed(4)
        model = text_classifier(
            stack, reviews.classes, "freeze", pooling="mix", hidden=6, dropout=0.4, learning_rate=0.05
        )
        features = cache_features(model, reviews) if cached else None
        fitted, batches = (features.model, features.batches) if cached else (model, stack.batches)
        best = BestWeights("loss")
        # In batches of texts of like length, in an order drawn anew each epoch.
        batches = batches(reviews, training=True, batch_size=5, seed=7)
        history = fitted.fit(batches, epochs=4, callbacks=[best], class_weight={0: 1.0, 1: 2.5}, verbose=0).history
        assert best.best_epoch is not None
        results.append((history, head_weights(model), int(model.optimizer.iterations.numpy())))
    (history, weights, steps), (cached_history, cached_weights, cached_steps) = results
    assert steps == cached_steps == 13 * 4  # 64 texts in batches of 5, four epochs
    for name, values in history.items():
        np.testing.assert_allclose(cached_history[name], values, rtol=1e-4, err_msg=name)
    assert len(weights) == 2 + 2 + 2  # mix and scale; hidden layer; logits
    for cached_weight, weight in zip(cached_weights, weights, strict=True):
        np.testing.assert_allclose(cached_weight, weight, rtol=1e-4, atol=1e-5)


def test_pairs_with_several_labels_each(stack):
    examples = Examples.from_lists(
        ["good film", "bad film", "good film", "the plot"] * 4,
        [["g"], ["b"], ["b", "g"], []] * 4,
        ["music", "music", "actor", ""] * 4,
    )
    model = text_classifier(stack, examples.classes, "freeze", multi_label=True, pooling="cls", learning_rate=0.1)
    cached = cache_features(model, examples)
    assert len(cached) == 4  # each different pair once
    tokens, labels = next(iter(stack.batches(examples)))
    features, found = next(iter(cached.batches(examples)))
    np.testing.assert_array_equal(found, labels)
    outputs = tf.saved_model.load(stack.folder)(tokens, training=False)
    np.testing.assert_allclose(features, outputs["pooled_output"], atol=1e-6)
    before = head_weights(model)
    cached.model.fit(cached.batches(examples, batch_size=4), epochs=2, verbose=0)
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(before, head_weights(model), strict=True))
    # The full model has learned it.
    np.testing.assert_allclose(model(tokens, training=False), cached.model(features, training=False), atol=1e-5)
    with pytest.raises(UserError, match=r"4 of 4 texts are not among those .* the first: 'good film'"):
        cached.batches(Examples.from_lists(["good film"] * 4, text_pairs=["actors"] * 4))


def test_a_folder_is_read_again_and_refused_where_it_does_not_fit(stack, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    scored = ScoredExamples.from_lists(["good", "bad", "the film was fine", "dull"] * 3, [5, 0, 4, 1] * 3)
    model = text_regressor(stack, (0, 5), "freeze", pooling="mean", learning_rate=0.1)
    folder = tmp_path / "runs" / "features"
    cached = cache_features(model, scored, folder=folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["features"]
    first = np.concatenate([x.numpy() for x, _ in cached.batches(scored, batch_size=5)])
    loss = cached.model.fit(cached.batches(scored, batch_size=4), epochs=5, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    # Again, for a part of the texts in another order: nothing is computed.
    part = scored.take(np.array([3, 0]))
    with monkeypatch.context() as patch:
        patch.setattr(frozen.TextVectors, "compute", None)
        again = cache_features(model, part, folder=folder)
    assert "taken from" in caplog.text
    (found, _), *_ = again.batches(part)
    np.testing.assert_array_equal(found.numpy(), first[[3, 0]])
    with pytest.raises(UserError, match=r"1 of 2 texts .* the first: 'great'; delete the folder"):
        cache_features(model, Examples.from_lists(["bad", "great"]), folder=folder)
    # The encoder learned something in between.
    weight = model.get_layer("encoder").weights[0]
    weight.assign(weight.numpy() + 1e-3)
    with pytest.raises(UserError, match="weights have changed since"):
        again.batches(part)
    with pytest.raises(UserError, match="of another encoder, or of other weights"):
        cache_features(model, scored, folder=folder)
    set_transfer(model, "fine-tune")
    with pytest.raises(UserError, match="the encoder learns now"):
        again.batches(part)
    with pytest.raises(UserError, match="so its outputs change"):
        cache_features(model, scored)


def test_large_features_go_to_a_file_without_a_name(stack, reviews, monkeypatch):
    monkeypatch.setattr(frozen, "MEMORY_LIMIT", 100)
    model = text_classifier(stack, reviews.classes, "freeze", pooling="max")
    on_disk = cache_features(model, reviews)
    assert isinstance(on_disk._features.vectors, np.memmap)
    features, _ = next(iter(on_disk.batches(reviews, batch_size=64)))
    tokens, _ = next(iter(stack.batches(reviews, batch_size=64)))
    sequence = tf.saved_model.load(stack.folder)(tokens, training=False)["sequence_output"].numpy()
    for vector, vectors, mask in zip(features.numpy(), sequence, tokens["input_mask"].numpy(), strict=True):
        np.testing.assert_allclose(vector, vectors[mask == 1].max(0), atol=1e-6)


def test_models_that_look_at_more_than_a_pooled_vector(stack):
    texts = Examples.from_lists(["good"])
    with pytest.raises(CannotSplit, match="only a head on one pooled vector for each text"):
        cache_features(token_classifier(stack, ["PER"], "freeze"), texts)
    model = keras.Sequential([keras.layers.Dense(2)])
    with pytest.raises(CannotSplit, match="holds no tl_keras encoder"):
        cache_features(model, texts)


# What follows needs no model.

KEY = {
    "format": 1,
    "encoder": "e" * 64,
    "seq_length": 32,
    "layers": None,
    "pooling": "mean of output 4",
    "shape": [WIDTH],
}


@pytest.fixture
def stored(tmp_path):
    """A folder of features of three texts."""
    examples = Examples.from_lists(["a", "b", "a", "c"])
    names, content = feature_store.different([examples])
    assert sorted(content.texts) == ["a", "b", "c"]
    feature_store.write(
        tmp_path / "features", KEY, names, np.array([1, 2, 3]), lambda out: out.__setitem__(slice(None), 1.5)
    )
    return tmp_path / "features"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder": "f" * 64}, "of another encoder, or of other weights. Delete"),
        ({"seq_length": 64}, r"of texts cut elsewhere \(seq_length is 32, not 64\)"),
        ({"layers": 2}, r"of another number of blocks \(layers is None, not 2\)"),
        ({"pooling": "mix"}, r"pooled in another way \(pooling is 'mean of output 4', not 'mix'\)"),
        ({"format": 2}, "in another format"),
    ],
)
def test_features_of_something_else(stored, changed, message):
    with pytest.raises(UserError, match=message):
        feature_store.read(stored, {**KEY, **changed})


def damage(folder, name):
    content = (folder / name).read_bytes()
    return {
        "a bit": content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
        "cut": content[: len(content) // 2],
        "empty": b"",
    }


@pytest.mark.parametrize("name", ["vectors.npy", "texts.npy", "tokens.npy", "key.json"])
@pytest.mark.parametrize("how", ["a bit", "cut", "empty"])
def test_damaged_files(stored, name, how):
    if (name, how) == ("key.json", "a bit"):
        entries = json.loads((stored / name).read_text())
        del entries["files"]
        content = json.dumps(entries).encode()
    else:
        content = damage(stored, name)[how]
    (stored / name).write_bytes(content)
    with pytest.raises(UserError, match=r"are damaged.*Delete the folder"):
        feature_store.read(stored, KEY)


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds no cached features"):
        feature_store.read(tmp_path, KEY)

    def fail(out):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feature_store.write(tmp_path / "new", KEY, np.array([b"x"]), None, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="cannot write the features"):
        feature_store.write(tmp_path / "thesis.txt" / "new", KEY, np.array([b"x"]), None, fail)


def test_two_processes_that_compute_the_same_features(tmp_path):
    names = np.array([b"x"])

    def compute(value, meanwhile=None):
        def fill(out):
            if meanwhile is not None:
                compute(meanwhile)
            out[:] = value

        return feature_store.write(tmp_path / "features", KEY, names, None, fill)

    # The one that is done first counts.
    assert (compute(1.5, meanwhile=2.5).vectors == 2.5).all()
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_texts_and_pairs_are_told_apart():
    ways = [Examples.from_lists(["ab"]), Examples.from_lists(["ab"], text_pairs=[""])]
    ways += [Examples.from_lists(["a"], text_pairs=["b"]), Examples.from_lists(["abpair"]), Examples.from_lists([""])]
    assert len({feature_store.digests(way)[0] for way in ways}) == len(ways)
    with pytest.raises(UserError, match="some examples are pairs"):
        feature_store.different(ways[:2])
    with pytest.raises(UserError, match="give the examples"):
        feature_store.different([])
