"""Exports: the same predictions, from strings, anywhere."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import UserError, export, load_encoder, load_exported, predict, text_classifier
from tl_keras.saved_models import add_version


def folder_size(folder) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def test_predicts_the_same_in_another_process_after_a_move_without_the_encoder(tiny_pair, reviews, tmp_path, serve):
    shutil.copytree(tiny_pair, tmp_path / "cache")
    encoder = load_encoder(str(tmp_path / "cache"), seq_length=32)
    model = text_classifier(encoder, reviews.classes, learning_rate=1e-2)
    model.fit(encoder.batches(reviews, training=True), epochs=1, verbose=0)
    texts = [*reviews.texts[:20].tolist(), "", "영화 좋다", "x" * 500, "the film was " * 50]
    expected = predict(model, texts, all_scores=True)
    export(model, tmp_path / "out" / "1")
    shutil.rmtree(tmp_path / "cache")
    moved = (tmp_path / "out" / "1").rename(tmp_path / "moved")
    got = serve(moved, text=texts)
    assert got["label"] == expected.label.tolist()
    np.testing.assert_allclose(got["score"], expected.score, atol=1e-5)
    np.testing.assert_allclose(np.array(got["scores"])[:, 1], expected.score_positive, atol=1e-5)


def test_loaded_saved_and_loaded_again(encoder, reviews, tmp_path):
    model = text_classifier(encoder, reviews.classes)
    first = export(model, tmp_path / "1")
    loaded = tf.saved_model.load(str(first))
    tf.saved_model.save(loaded, str(tmp_path / "2"), signatures=loaded.signatures)
    shutil.rmtree(first)
    texts = reviews.texts[:5].tolist()
    again = load_exported(tmp_path / "2")
    np.testing.assert_allclose(
        again.scores(texts), predict(model, texts, all_scores=True).iloc[:, 3:].to_numpy(), atol=1e-6
    )


def test_batches_of_any_size_and_what_the_signature_says(encoder, reviews, tmp_path):
    model = text_classifier(encoder, reviews.classes)
    loaded = load_exported(export(model, tmp_path / "1"))
    assert loaded.classes == reviews.classes
    assert loaded.scores([]).shape == (0, 2)
    for size in (0, 1, 3):
        out = loaded.signature(text=tf.constant(["good"] * size, tf.string, shape=[size]))
        assert {name: value.shape.as_list() for name, value in out.items()} == {
            "label": [size], "score": [size], "scores": [size, 2],
        }  # fmt: skip
    assert predict(loaded, []).columns.tolist() == ["text", "label", "score"]


def test_a_text_scores_the_same_whatever_stands_beside_it(encoder, reviews, tmp_path):
    model = text_classifier(encoder, reviews.classes, pooling="max")
    loaded = load_exported(export(model, tmp_path / "1"))
    alone = loaded.scores(["good film"])
    together = loaded.scores(["good film", "film " * 30])
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)
    # Enough for several groups of like length, the last one smaller.
    texts = [f"{'film ' * (7 * i % 29)}{'good' if i % 3 else 'bad'}" for i in range(70)]
    at_once = loaded.signature(text=tf.constant(texts))["scores"].numpy()
    one_by_one = np.concatenate([loaded.signature(text=tf.constant([text]))["scores"] for text in texts])
    np.testing.assert_allclose(at_once, one_by_one, atol=1e-6)
    assert len(np.unique(one_by_one[:, 0].round(5))) > 30


def test_no_weight_is_stored_twice(encoder, reviews, tmp_path):
    model = text_classifier(encoder, reviews.classes)
    folder = export(model, tmp_path / "1")
    stored = tf.train.list_variables(str(folder / "variables" / "variables"))
    shapes = [tuple(shape) for name, shape in stored if name.endswith("VARIABLE_VALUE")]
    # Beside the weights only what dropout draws its numbers from: two integers.
    assert sorted(shapes) == sorted([tuple(v.shape) for v in model.variables])
    assert sum(int(np.prod(s)) for s in shapes) - sum(int(np.prod(w.shape)) for w in model.weights) <= 2


def test_pairs(encoder, tmp_path):
    model = text_classifier(encoder, ["no", "yes"])
    loaded = load_exported(export(model, tmp_path / "1", pairs=True))
    first, second = ["good film", "bad"], ["bad film the music", "a"]
    np.testing.assert_allclose(predict(loaded, first, second).score, predict(model, first, second).score, atol=1e-5)
    assert predict(model, first, second).columns.tolist() == ["text", "text_pair", "label", "score"]
    with pytest.raises(UserError, match="takes pairs"):
        predict(loaded, first)
    with pytest.raises(UserError, match="2 texts but 1 text_pairs"):
        predict(model, first, ["a"])


def test_several_labels(encoder, tmp_path):
    model = text_classifier(encoder, ["x", "y", "z"], multi_label=True)
    loaded = load_exported(export(model, tmp_path / "1"))
    assert loaded.multi_label
    frame = predict(loaded, ["good", "bad"], threshold=0.0)
    assert frame.label.tolist() == [["x", "y", "z"]] * 2
    assert predict(loaded, ["good"], threshold=1.0).label.tolist() == [[]]


def test_order_of_predictions_is_the_order_of_texts(encoder, reviews):
    model = text_classifier(encoder, reviews.classes)
    texts = ["film " * n for n in (20, 1, 9, 3, 14)]
    together = predict(model, texts, batch_size=2)
    apart = [predict(model, [text]).score[0] for text in texts]
    assert together.text.tolist() == texts
    np.testing.assert_allclose(together.score, apart, atol=1e-6)


def test_existing_folders_and_other_models(encoder, tmp_path):
    model = text_classifier(encoder, ["a", "b"])
    (tmp_path / "1").mkdir()
    with pytest.raises(UserError, match="exists"):
        export(model, tmp_path / "1")
    export(model, tmp_path / "1", overwrite=True)
    assert [f.name for f in tmp_path.iterdir()] == ["1"]
    with pytest.raises(UserError, match="no export of tl_keras"):
        load_exported(encoder.folder)
    with pytest.raises(UserError, match="no folder"):
        load_exported(tmp_path / "nothing")


def test_versions_count_up(encoder, tmp_path):
    source = export(text_classifier(encoder, ["a", "b"]), tmp_path / "run" / "saved_model" / "1")
    assert [add_version(tmp_path / "run", tmp_path / "models").name for _ in range(2)] == ["1", "2"]
    assert folder_size(tmp_path / "models" / "2") == folder_size(source)
