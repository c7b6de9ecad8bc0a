"""Spark in this process with two workers: the same answers as without it, every row once."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tl_keras import UserError, load_exported

# Java and two Python workers with TensorFlow take most of a minute to begin.
pytestmark = pytest.mark.slow
pytest.importorskip("pyspark", reason="needs the extra `spark`")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java 17", allow_module_level=True)

TEXTS = [*("영화 " * (row % 7) + str(row) for row in range(500)), "", None, "a\tb\nc"]


def save(folder, serve, signature, **constants):
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, name) for name in signature])
    for name, value in constants.items():
        setattr(module, name, tf.function(lambda value=value: tf.constant(value), input_signature=[]))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return str(folder)


def length(text):
    return tf.cast(tf.strings.length(text, unit="UTF8_CHAR"), tf.float32)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")

    def scores(text):
        return {"scores": tf.stack([1 / (1 + length(text)), length(text) / (1 + length(text))], axis=1)}

    def spans(text):
        return {
            "starts": tf.zeros([tf.size(text), 1], tf.int32),
            "ends": tf.cast(length(text), tf.int32)[:, tf.newaxis],
            "labels": tf.fill([tf.size(text), 1], "ALL"),
            "scores": tf.ones([tf.size(text), 1]),
            "count": tf.cast(length(text) > 0, tf.int32),
        }

    return {
        "classifier": save(
            folder / "classifier", scores, ["text"], class_names=["short", "long"], multi_label=False
        ),
        "tagger": save(folder / "tagger", spans, ["text"], span_labels=["ALL"], tag_scheme="plain"),
        "encoder": save(
            folder / "encoder", lambda text: {"embedding": tf.stack([length(text), length(text) * 2], axis=1)}, ["text"],
            embedding_width=2,
        ),
        "pairs": save(
            folder / "pairs", lambda text, text_pair: {"score": length(text) - length(text_pair)}, ["text", "text_pair"],
            score_range=[0.0, 5.0],
        ),
    }  # fmt: skip


@pytest.fixture
def spark():
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
        .getOrCreate()
    )
    yield session
    session.stop()


def test_the_same_answers_as_without_spark(spark, exports):
    from tl_keras.spark import encode_udf, predict_udf

    rows = [(number, text) for number, text in enumerate(TEXTS)]
    frame = spark.createDataFrame(rows, "id int, text string").repartition(4)
    classify, tag, encode = (predict_udf(exports[n]) for n in ("classifier", "tagger", "encoder"))
    differ, units = predict_udf(exports["pairs"]), encode_udf(exports["encoder"], normalize=True)
    got = (
        frame.select(
            "id", "text", classify("text").alias("c"), tag("text").alias("t"), encode("text").alias("e"),
            differ("text", "text").alias("d"), units("text").alias("u"),
        ).orderBy("id").collect()
    )  # fmt: skip
    assert [(row.id, row.text) for row in got] == rows
    model = load_exported(exports["classifier"])
    for row in got:
        if row.text is None:
            assert (row.c.label, row.t.entities, row.e.embedding, row.d.score, row.u) == (None,) * 5
            continue
        n = len(row.text)
        assert row.c.label == ("long" if n > 1 else "short")
        np.testing.assert_allclose(row.c.scores, model.scores([row.text])[0], rtol=1e-6)
        assert [(s.start, s.end, s.text) for s in row.t.entities] == ([(0, n, row.text)] if n else [])
        assert (row.e.embedding, row.d.score) == ([n, 2 * n], 0.0)
        np.testing.assert_allclose(row.u, np.array([1, 2]) / 5**0.5 * (n > 0), atol=1e-6)
    with pytest.raises(UserError, match="gives no vectors"):
        encode_udf(exports["tagger"])


def test_from_the_command_line(call, exports, tmp_path, monkeypatch):
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[2] --conf spark.ui.enabled=false pyspark-shell")
    for part in range(3):
        rows = {
            "id": range(part * 10, part * 10 + 10),
            "review": ["x" * (part * 10 + n) for n in range(10)],
            "score": 1.0,
        }
        pd.DataFrame(rows).to_parquet(tmp_path / f"part-{part}.parquet")
    ask = ["predict", exports["classifier"], "--engine", "spark", "--data", str(tmp_path / "*.parquet")]
    out = tmp_path / "out"
    code, told, err = call(*ask, "--out", out, "--text", "review", "--keep", "id")
    assert (code, "30 rows answered" in told) == (0, True), err
    frame = pd.read_parquet(out).sort_values("id")
    assert frame.columns.tolist() == ["id", "review", "label", "score", "scores"]
    assert frame.id.tolist() == list(range(30))
    assert frame.label.tolist() == ["short"] * 2 + ["long"] * 28
    for more, message in (
        (["--out", out], "exists; choose another --out"),
        (["--out", tmp_path / "new", "--text", "id"], "holds bigint, not strings"),
        (["--out", tmp_path / "new"], "has no column 'text'; it has id, review, score"),
        (["--out", tmp_path / "new", "--text", "review", "--keep", "score"], "a column 'score' of their own"),
        (["--out", tmp_path / "new", "--shard", "0/2"], "not for --engine spark"),
    ):
        code, _, err = call(*ask, *more)
        assert code == 2
        assert message in err.strip().splitlines()[-1]
    assert not (tmp_path / "new").exists()
