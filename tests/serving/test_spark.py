"""Spark on this machine, started here: the same answers as without it, every row once."""

from __future__ import annotations

import functools
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tl_keras import UserError, load_exported, predict

pytest.importorskip("pyspark", reason="needs the extra `spark`")
if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
    pytest.skip("Spark needs Java 17 (Debian: openjdk-17-jre-headless)", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
TEXTS = [*("영화 " * (row % 7) + str(row) for row in range(300)), "", None, "a\tb\nc"]


def constants_of(value):
    return {name: tf.constant(one) for name, one in value.items()} if isinstance(value, dict) else tf.constant(value)


def save(folder, task, serve, signature, **constants):
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, name) for name in signature])
    for name, value in {"tl_keras_task": task, **constants}.items():
        constant = functools.partial(constants_of, value)
        setattr(module, name, tf.function(constant, input_signature=[]))
    module.n_best = module.serve  # of an answerer
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return str(folder)


def length(text):
    return tf.cast(tf.strings.length(text, unit="UTF8_CHAR"), tf.float32)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")

    def scores(text):
        double = 2 * length(text)
        return {"scores": tf.stack([1 / (1 + double), double / (1 + double)], axis=1)}

    def spans(text):
        return {
            "starts": tf.zeros([tf.size(text), 1], tf.int32),
            "ends": tf.cast(length(text), tf.int32)[:, tf.newaxis],
            "labels": tf.fill([tf.size(text), 1], "ALL"),
            "scores": tf.ones([tf.size(text), 1]),
            "count": tf.cast(length(text) > 0, tf.int32),
        }

    def first_letter(question, context):
        del question
        one = tf.ones([tf.size(context), 1], tf.int32)
        return {
            "starts": one * 0,
            "ends": one,
            "log_scores": tf.cast(one, tf.float32) * tf.math.log(0.5),
            "null_log_score": tf.math.log(tf.fill([tf.size(context)], 0.25)),
        }

    names = {"class_names": ["short", "long"]}
    return {
        "classifier": save(folder / "classifier", "text-classification", scores, ["text"], **names, multi_label=False),
        "multi": save(folder / "multi", "text-classification", scores, ["text"], **names, multi_label=True),
        "tagger": save(folder / "tagger", "token-classification", spans, ["text"], span_labels=["ALL"], tag_scheme="plain"),
        "answerer": save(
            folder / "answerer", "question-answering", first_letter, ["question", "context"], answer_settings={"null_answers": False, "null_threshold": 0.0}
        ),
        "encoder": save(
            folder / "encoder", "sentence-similarity", lambda text: {"embedding": tf.stack([length(text), length(text) * 2], axis=1)}, ["text"],
            embedding_width=2,
        ),
        "pairs": save(
            folder / "pairs", "sentence-similarity", lambda text, text_pair: {"score": length(text) - length(text_pair)}, ["text", "text_pair"],
            score_range=[0.0, 5.0],
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
        .getOrCreate()
    )
    yield session
    session.stop()


def test_the_same_answers_as_without_spark(spark, exports):
    from tl_keras.spark import encode_udf, predict_udf

    rows = [(number, text) for number, text in enumerate(TEXTS)]
    ask = {name: predict_udf(export) for name, export in exports.items()}
    ask["scores"], ask["units"] = (
        predict_udf(exports["classifier"], all_scores=True),
        encode_udf(exports["encoder"], normalize=True),
    )
    asked = spark.createDataFrame(rows, "id int, text string").select(
        "id", "text", *(f("text", *["text"] * (n in ("pairs", "answerer"))).alias(n) for n, f in ask.items())
    )
    got = sorted(asked.collect(), key=lambda row: row.id)
    assert [(row.id, row.text) for row in got] == rows
    there = [row for row in got if row.text is not None]
    texts = [row.text for row in there]
    # All functions are evaluated by one Python worker, in one pass: each would load TensorFlow by itself.
    assert asked._jdf.queryExecution().executedPlan().toString().count("ArrowEvalPython") == 1
    for name, options in (("classifier", {}), ("multi", {}), ("pairs", {}), ("scores", {"all_scores": True})):
        export = load_exported(exports["classifier" if name == "scores" else name])
        wanted = predict(export, texts, texts if name == "pairs" else None, **options)
        for field in wanted.columns.drop(["text", "text_pair"], errors="ignore"):
            found = pd.Series([row[name][field] for row in there])
            pd.testing.assert_series_equal(found, wanted[field], check_dtype=False, check_names=False, rtol=1e-6)
    for row in there:
        n = len(row.text)
        assert (row.classifier.label, row.multi.label) == (("long", ["long"]) if n else ("short", ["short"]))
        assert [(s.start, s.end, s.text) for s in row.tagger.entities] == ([(0, n, row.text)] if n else [])
        assert (row.answerer.answer, row.answerer.score) == (row.text[:1], 0.5)
        assert (row.encoder.embedding, row.pairs.score) == ([n, 2 * n], 0.0)
        np.testing.assert_allclose(row.units, np.array([1, 2]) / 5**0.5 * (n > 0), atol=1e-6)
    (empty,) = (row for row in got if row.text is None)
    assert empty.units is None
    assert {value for name in exports for value in empty[name]} == {None}
    with pytest.raises(UserError, match="gives no vectors"):
        encode_udf(exports["tagger"])


def test_from_the_command_line(spark, call, exports, tmp_path):
    for part in range(3):
        rows = {
            "id": range(part * 10, part * 10 + 10),
            "re.view": ["x" * (part * 10 + n) for n in range(10)],
            "score": 1.0,
        }
        pd.DataFrame(rows).to_parquet(tmp_path / f"part-{part}.parquet")
    ask = ["predict", exports["classifier"], "--engine", "spark", "--data", tmp_path / "*.parquet"]
    out = tmp_path / "out"
    code, told, err = call(*ask, "--out", out, "--text", "re.view")
    assert (code, "30 rows answered" in told) == (0, True), err
    frame = pd.read_parquet(out).sort_values("id")
    assert frame.columns.tolist() == ["id", "re.view", "score", "label", "predicted_score"]
    assert frame.id.tolist() == list(range(30))
    assert frame.label.tolist() == ["short"] + ["long"] * 29
    assert spark.range(1).count() == 1  # a session that was there is left
    for more, message in (
        (["--out", out], "exists; choose another --out"),
        (["--out", tmp_path / "new", "--text", "id"], "holds bigint, not strings"),
        (["--out", tmp_path / "new"], "has no column 'text'; its columns are: id, re.view, score"),
        (["--out", tmp_path / "new", "--shard", "0/2"], "--shard is not for --engine spark"),
    ):
        code, _, err = call(*ask, *more)
        assert code == 2
        assert message in err.strip().splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_vectors_of_a_pretrained_encoder_and_a_job_that_fails(spark, call, tiny_pair, reviews, exports, tmp_path):
    from tl_keras import encode

    pd.DataFrame({"text": reviews.texts[:8]}).to_parquet(tmp_path / "new.parquet")
    ask = [
        "encode",
        "--encoder",
        tiny_pair,
        "--engine",
        "spark",
        "--data",
        tmp_path / "new.parquet",
        "--pooling",
        "max",
    ]
    code, _, err = call(*ask, "--seq-length", "16", "--out", tmp_path / "vectors")
    assert code == 0, err
    frame = pd.read_parquet(tmp_path / "vectors")
    assert frame.text.tolist() == list(reviews.texts[:8])
    expected = encode(str(tiny_pair), list(reviews.texts[:8]), "max", seq_length=16)
    np.testing.assert_allclose(np.stack(frame.embedding), expected, atol=1e-5)
    # A model that refuses a row ends the job, with its reason in one line, and nothing is left of it.
    refuses = save(
        tmp_path / "refuses", "sentence-similarity", lambda text: {"embedding": tf.strings.to_number(text)[:, tf.newaxis]}, ["text"],
        embedding_width=1,
    )  # fmt: skip
    ask[2] = refuses
    code, _, err = call(*ask[:7], "--out", tmp_path / "none")
    assert code == 2
    assert "Spark's job failed" in err.splitlines()[-1]
    assert "StringToNumberOp could not correctly convert string" in err.splitlines()[-1]
    assert not (tmp_path / "none").exists()
