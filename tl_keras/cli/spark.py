"""`--engine spark` of `predict` and `encode`: Parquet files in, a folder of Parquet files out. Which cluster, Spark's own settings say."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tl_keras.cli.running import need_extra, one_of
from tl_keras.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TASK = "8m"
"""Of Parquet in a task, at most (a row group is never cut): Spark's own 128 MB are for work that costs less than a model, and what a killed executor
has begun is done again."""

Engine = Annotated[
    Optional[str],  # noqa: UP045  (typer reads it at run time, also on Python 3.10)
    typer.Option(
        help="Where to compute: spark, for Parquet files (--data 'PATTERN.parquet' --out FOLDER). Default: in this process.",
        callback=one_of("--engine", "spark"),
    ),
]


def check_spark() -> None:
    """Say what is missing before TensorFlow is waited for.

    Raises:
        UserError: pyspark or Java is not there.
    """
    need_extra("spark", "--engine spark", "pyspark", "pyarrow")
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise UserError("Spark needs Java 17: install it (Debian: openjdk-17-jre-headless), or set JAVA_HOME.")


def refuse_options(engine: str, **given: bool) -> None:
    """Refuse options that an engine has no use for.

    Args:
        engine: how to call it.
        **given: whether each was given.

    Raises:
        UserError: one was.
    """
    for name, there in given.items():
        if there:
            raise UserError(f"{name} is not for {engine}; leave it out.")


def predict_with_spark(
    model, data: str, out: str, text: str, text_pair: str | None, keep: Sequence[str] | None, batch_size: int
) -> int:
    """Answer for the rows of Parquet files, as `predict_file` does.

    Args:
        model: what `load_exported` gave.
        data: files, patterns or folders, with commas between several.
        out: folder to write; it must not be there.
        text: column with the text.
        text_pair: column with the second text.
        keep: the columns to copy beside the texts; by default all.
        batch_size: texts in a batch.

    Returns:
        How many rows were answered.

    Raises:
        UserError: something is missing or in the way, or the job failed.
    """
    from tl_keras.serving.stream import free_names
    from tl_keras.spark import predict_udf, takes_pairs

    texts = [text, text_pair] if takes_pairs(model) else [text]
    with _session("tl-keras predict") as spark:
        _folder(spark, out)
        rows = _read(spark, data, texts, keep or ())
        kept = [name for name in rows.columns if keep is None or name in keep or name in texts]
        answer = predict_udf(model, batch_size=batch_size, spark=spark)
        names = answer.returnType.names
        other = free_names(names, kept)
        found = rows.select(*map(_quoted, kept), answer(*map(_quoted, texts)).alias("_answer_"))
        columns = [found["_answer_"].getField(name).alias(other.get(name, name)) for name in names]
        return _write(found.select(*map(_quoted, kept), *columns), out)


def encode_with_spark(encoder: str, data: str, out: str, text: str, batch_size: int, **options) -> int:
    """Write the rows of Parquet files with the vectors of their texts, in a column `embedding`.

    Args:
        encoder: a handle, a run folder or an export.
        data: as for `predict_with_spark`.
        out: folder to write; it must not be there.
        text: column with the text.
        batch_size: texts in a batch.
        **options: of `encode_udf`.

    Returns:
        How many texts were encoded.

    Raises:
        UserError: as for `predict_with_spark`.
    """
    from tl_keras.serving.stream import free_names
    from tl_keras.spark import encode_udf

    with _session("tl-keras encode") as spark:
        _folder(spark, out)
        rows = _read(spark, data, [text], ())
        vectors = encode_udf(encoder, batch_size=batch_size, spark=spark, **options)(_quoted(text))
        name = free_names(["embedding"], rows.columns).get("embedding", "embedding")
        return _write(rows.select("*", vectors.alias(name)), out)


@contextlib.contextmanager
def _session(name: str) -> Iterator[SparkSession]:
    """The session, for the time of a job; one that was there before stays."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    # It warns of pandas 3 at every function. The tests run with it.
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
    # The workers' Python is this one, unless somebody says otherwise.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    before = SparkSession.getActiveSession()
    try:
        spark = before or SparkSession.builder.appName(name).getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise UserError(f"Spark does not begin: {_reason(error)}") from error
    size = "spark.sql.files.maxPartitionBytes"
    if not spark.sparkContext.getConf().contains(size):
        spark.conf.set(size, TASK)
    try:
        yield spark
    except (PySparkException, Py4JError) as error:
        raise UserError(f"Spark's job failed: {_reason(error)}") from error
    finally:
        if before is None:
            spark.stop()


def _read(spark: SparkSession, data: str, texts: Sequence[str], keep: Sequence[str]) -> DataFrame:
    """Parquet files with the columns that are asked for.

    Raises:
        UserError: they cannot be read, or a column is not there or not of strings.
    """
    from pyspark.errors import AnalysisException

    try:
        rows = spark.read.parquet(*data.split(","))
    except AnalysisException as error:
        raise UserError(f"{data} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    for name in [*texts, *keep]:
        if name not in rows.columns:
            raise UserError(f"{data} has no column {name!r}; its columns are: {', '.join(rows.columns)}.")
    for name in texts:
        kind = rows.schema[name].dataType
        if kind.typeName() not in ("string", "varchar", "char"):
            raise UserError(f"column {name!r} of {data} holds {kind.simpleString()}, not strings.")
    return rows


def _folder(spark: SparkSession, out: str):
    """Hadoop's file system and path of a folder to write, wherever it is: Spark's paths need not be of this machine.

    Raises:
        UserError: the folder is there.
    """
    path = spark._jvm.org.apache.hadoop.fs.Path(out)
    files = path.getFileSystem(spark._jsc.hadoopConfiguration())
    if files.exists(path):
        raise UserError(f"{out} exists; choose another --out.")
    return files, path


def _write(rows: DataFrame, out: str) -> int:
    """Write a folder of Parquet files, and count its rows. It has `_SUCCESS` in it when it is whole; of a job that fails nothing is left."""
    spark = rows.sparkSession
    files, path = _folder(spark, out)
    try:
        # A task's file counts when Spark commits it: a task that is done twice is not there twice.
        rows.write.parquet(out)
    except BaseException:
        files.delete(path, True)
        raise
    return spark.read.parquet(out).count()


def _quoted(name: str) -> str:
    """A column's name as Spark wants it where it may hold dots."""
    return f"`{name.replace('`', '``')}`"


def _reason(error: BaseException) -> str:
    r"""What went wrong, in one line: in a worker where it was there, else the first that Spark says.

    Example:
        >>> _reason(ValueError("[FAILED] Job aborted.\nTraceback (most recent call last):\n  File ...\nKeyError: 3\n\n\tat org.apache"))
        'KeyError: 3'
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    traces = [place for place, line in enumerate(lines) if line.lstrip().startswith("Traceback (most recent")]
    # The lines of a trace are indented; behind them it says what was raised.
    ends = [line for line in lines[traces[-1] + 1 :] if not line[0].isspace()] if traces else lines
    return ends[0].strip() if ends else type(error).__name__
