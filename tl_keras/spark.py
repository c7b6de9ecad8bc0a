"""Predictions and vectors for Spark's DataFrames (extra `spark`): for more rows than one machine should read.

A model is sent once to each executor and loaded once in each of its Python workers. Rows come to it through Arrow, by default 10,000 at a time, and of
these texts of like length share a batch. `tl_keras` has to be installed where the executors run.
"""

from __future__ import annotations

import atexit
import functools
import operator
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tl_keras.errors import UserError
from tl_keras.manifest import tree_sha256


def predict_udf(
    model, *, batch_size: int = 64, threshold: float = 0.5, all_scores: bool = False, spark=None
) -> Callable:
    """A function of columns that answers for their rows, to be used like Spark's own.

    Args:
        model: run folder or export, what `load_exported` gave, or a Keras model. (A model that writes texts, or takes its labels at call time,
            is not served.)
        batch_size: texts in a batch.
        threshold: as for `predict`.
        all_scores: as for `predict`.
        spark: the session; by default the active one.

    Returns:
        A pandas UDF of one column of strings (or two: the second text; for an answerer question and context), which gives a struct with what
        `predict` gives besides the texts: `label` and `score`, lists of them for several labels at once, `entities`, `answer`, `start`, `end` and
        `score`, `embedding`, or `score`. Where a text is null, so are they.

    Raises:
        UserError: nothing of the kind is at `model`, Spark is not installed, or no session is active.

    Example: ::

        label = predict_udf("runs/reviews")
        spark.read.parquet("new/*.parquet").select("id", label("text").alias("answer")).select("id", "answer.*")
    """
    from pyspark.sql.functions import pandas_udf

    spark = _session(spark)
    found = _exported(model)
    schema = answer_schema(found, all_scores)
    name = _sent(found, spark)
    options = {"batch_size": batch_size, "threshold": threshold, "all_scores": all_scores}

    def answer(*columns: pd.Series) -> pd.DataFrame:
        return answers_of(name, list(columns), options)

    return pandas_udf(answer, schema)


def encode_udf(
    model,
    pooling: str | None = None,
    *,
    seq_length: int | None = None,
    layers: int | None = None,
    preprocessor: str | None = None,
    normalize: bool = False,
    role: str = "query",
    batch_size: int = 64,
    spark=None,
) -> Callable:
    """A function of a column that gives the vector of each text, as `encode` does: `array<float>`, null for null.

    Args:
        model: a pre-trained encoder's handle, or what `load_encoder` gave; or of a sentence encoder a run folder, an export, or the Keras model.
        pooling: of a pre-trained encoder, as for `encode`.
        seq_length: of a handle, as for `encode`.
        layers: of a handle, as for `encode`.
        preprocessor: of a handle, as for `encode`.
        normalize: give vectors of length 1.
        role: `"query"` or `"passage"`, as for `encode`.
        batch_size: texts in a batch.
        spark: the session; by default the active one.

    Raises:
        UserError: as for `predict_udf`, or the model gives no vectors.
    """
    from pyspark.sql.functions import pandas_udf

    spark = _session(spark)
    found = _vector_export(model, pooling, seq_length, layers, preprocessor)
    name = _sent(found, spark)

    def encode(column: pd.Series) -> pd.Series:
        return vectors_of(name, column, {"batch_size": batch_size, "normalize": normalize, "role": role})

    return pandas_udf(encode, "array<float>")


def answer_schema(model, all_scores: bool = False):
    """The fields of an answer, as Spark's types.

    Args:
        model: from `load_exported`.
        all_scores: as for `predict`.

    Raises:
        UserError: models of this kind are not asked through Spark.
    """
    from pyspark.sql import types

    from tl_keras.serving.generator import TextGenerator
    from tl_keras.serving.predict import predict
    from tl_keras.serving.stream import answer_names
    from tl_keras.serving.zero_shot_classifier import ZeroShotClassifier

    if isinstance(model, (TextGenerator, ZeroShotClassifier)):
        raise UserError(f"a model for {model.task} cannot be asked through Spark.")
    string, number, place = types.StringType(), types.FloatType(), types.IntegerType()
    fields = {"label": string, "score": number, "answer": string, "start": place, "end": place}
    if getattr(model, "multi_label", False):
        fields |= {"label": types.ArrayType(string), "score": types.ArrayType(number)}
    span = types.StructType([types.StructField(n, t) for n, t in {**fields, "text": string}.items() if n != "answer"])
    fields |= {"entities": types.ArrayType(span), "embedding": types.ArrayType(number)}
    empty = predict(model, *([] for _ in range(1 + takes_pairs(model))), all_scores=all_scores)
    # What is not named here are the scores of single classes, and that of no answer.
    return types.StructType([types.StructField(name, fields.get(name, number)) for name in answer_names(empty)])


def takes_pairs(model) -> bool:
    """Whether an export wants two columns: pairs of texts, or questions and contexts."""
    inputs = model.signature.structured_input_signature[1]
    return len(inputs) == 2


def answers_of(name: str, columns: list[pd.Series], options: dict) -> pd.DataFrame:
    """The answers to rows, in a Python worker: what `predict` gives besides the texts, None where a text is missing.

    Args:
        name: of the model that was sent.
        columns: one or two, of strings.
        options: of `predict`.
    """
    from tl_keras.serving.predict import predict
    from tl_keras.serving.stream import answer_names

    def answers(*texts: list[str]) -> pd.DataFrame:
        frame = predict(_in_worker(name), *texts, **options)
        return frame[answer_names(frame)]

    return _where_there(columns, answers)


def vectors_of(name: str, column: pd.Series, options: dict) -> pd.Series:
    """The vectors of texts, in a Python worker, None where a text is missing.

    Args:
        name: of the model that was sent.
        column: strings.
        options: of `encode`.
    """
    from tl_keras.serving.encode import encode

    def vectors(texts: list[str]) -> pd.DataFrame:
        found = encode(_in_worker(name), texts, progress=lambda done, rows: None, **options)
        return pd.DataFrame({"embedding": pd.Series(list(found), dtype=object)})

    return _where_there([column], vectors)["embedding"]


def _where_there(columns: list[pd.Series], answers: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Answers to the rows where no text is missing, and None in the others."""
    missing = functools.reduce(operator.or_, [column.isna().to_numpy() for column in columns])
    frame = answers(*(column[~missing].tolist() for column in columns))
    if missing.any():
        frame.index = (~missing).nonzero()[0]
        frame = frame.astype(object).reindex(range(len(missing)))
        # An empty cell is NaN to pandas, which is a number to Spark.
        frame = frame.where(~pd.Series(missing), None)
    frame.index = columns[0].index
    return frame


# More than one job asks for at once; not all that an application ever has.
@functools.lru_cache(maxsize=8)
def _in_worker(name: str):
    """The model that was sent under a name, loaded once in this Python worker, with as many threads as a task has cores."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    from pyspark import SparkFiles, TaskContext

    from tl_keras.serving.predict import load_exported

    task = TaskContext.get()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(task.cpus() if task is not None else 1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass  # TensorFlow has begun in this worker already, for another model, and keeps its threads
    return load_exported(SparkFiles.get(name))


def _session(spark):
    """The session to work in.

    Raises:
        UserError: Spark is not installed, no session is active, or it is one of Spark Connect, which sends no archives.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UserError('Spark needs pyspark: pip install "tl_keras[spark]"') from error
    spark = spark or SparkSession.getActiveSession()
    if spark is None:
        raise UserError("no Spark session is active; make one with SparkSession.builder.getOrCreate().")
    if not isinstance(spark, SparkSession):
        raise UserError(
            "a model cannot be sent through Spark Connect; make the session on the cluster's driver (without SPARK_REMOTE)."
        )
    return spark


def _exported(model):
    """An export, loaded; a Keras model is exported first."""
    from tl_keras._keras import keras
    from tl_keras.serving.predict import load_exported

    if isinstance(model, keras.Model):
        from tl_keras.serving.predict import export

        model = export(model, _temporary_folder() / "1")
    return load_exported(model) if isinstance(model, (str, os.PathLike)) else model


def _vector_export(model, pooling, seq_length, layers, preprocessor):
    """An export that gives vectors; a pre-trained encoder gets its pooling and is exported."""
    from tl_keras.encoders.base import Encoder
    from tl_keras.encoders.load import load_encoder
    from tl_keras.models.pair_builders import sentence_encoder
    from tl_keras.saved_models import is_export
    from tl_keras.serving.encode import as_vector_source, fixed_pooling

    if isinstance(model, (str, os.PathLike)) and not is_export(model):
        model = load_encoder(os.fspath(model), 128 if seq_length is None else seq_length, preprocessor, layers)
        seq_length = layers = preprocessor = None
    if isinstance(model, Encoder):
        ready = sentence_encoder(model, "freeze", pooling=fixed_pooling(model, pooling), normalize=False)
        pooling, model = None, ready
    found = _exported(model)
    as_vector_source(found, pooling, seq_length=seq_length, layers=layers, preprocessor=preprocessor)
    return found


# By application and content: what has been sent is not sent again.
_SENT: dict[tuple[str, str], str] = {}


def _sent(model, spark) -> str:
    """Send an export to the executors; gives the name by which they find it."""
    digest = tree_sha256(model.folder)
    key = (spark.sparkContext.applicationId, digest)
    if key not in _SENT:
        name = f"tl_keras-{digest[:16]}"
        # Executors may ask for it as long as the application lives. A zip, since Hadoop refuses the "./" in Python's tar archives.
        archive = shutil.make_archive(str(_temporary_folder() / name), "zip", model.folder)
        spark.sparkContext.addArchive(f"{archive}#{name}")
        _SENT[key] = name
    return _SENT[key]


def _temporary_folder() -> Path:
    """A folder for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="tl_keras-spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
