"""TensorFlow Serving's JSON: bodies of requests into columns of rows, and answers back into bodies.

Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import numpy as np
import orjson
import tensorflow as tf

from tl_keras.serving.http.saved_model import DEFAULT_SIGNATURE, SavedModel, Signature


class RequestError(Exception):
    """A request that cannot be answered; what its sender is told.

    Args:
        message: a sentence.
        status: of HTTP.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


class Asked(NamedTuple):
    """What a request asks for.

    Attributes:
        signature: to run.
        columns: by name of the input, arrays of the same length.
        form: `"predictions"` (row by row), `"outputs"` (column by column) or `"results"`.
    """

    signature: Signature
    columns: dict[str, np.ndarray]
    form: str

    @property
    def rows(self) -> int:
        """How many answers are wanted."""
        return len(next(iter(self.columns.values())))


def parse(body: bytes, model: SavedModel, method: str, max_rows: int) -> Asked:
    """What the body of a request asks of a model.

    Args:
        body: JSON.
        model: that is asked.
        method: `"predict"`, `"classify"` or `"regress"`.
        max_rows: most rows that are answered at once.

    Raises:
        RequestError: it is not what the interface wants; the message says where.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise RequestError("the body must be a JSON object.")
    name = request.get("signature_name") or DEFAULT_SIGNATURE
    signature = model.signatures.get(name) if isinstance(name, str) else None
    if signature is None:
        raise RequestError(f"there is no signature {name!r}; the model has {', '.join(sorted(model.signatures))}.")
    if method == "predict":
        form, columns = _predict_columns(request, signature)
    else:
        form, columns = "results", _example_columns(request, signature)
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length} in {key!r}" for key, length in lengths.items())
        raise RequestError(f"all inputs need the same number of rows, not {told}.")
    rows = next(iter(lengths.values()))
    if not rows:
        raise RequestError("there are no rows to answer.")
    if rows > max_rows:
        raise RequestError(f"{rows} rows are more than the {max_rows} that are answered at once; send them in parts.")
    return Asked(signature, {key: _array(key, values, signature.inputs[key]) for key, values in columns.items()}, form)


def _predict_columns(request: dict, signature: Signature) -> tuple[str, dict[str, list]]:
    if ("instances" in request) == ("inputs" in request):
        raise RequestError("give either 'instances' (row by row) or 'inputs' (column by column).")
    if "instances" in request:
        instances = request["instances"]
        if not isinstance(instances, list):
            raise RequestError("'instances' must be a list.")
        if instances and isinstance(instances[0], dict):
            return "predictions", _transposed(instances, signature, "instances")
        return "predictions", {_only_input(signature, "instances"): instances}
    inputs = request["inputs"]
    if not isinstance(inputs, dict):
        inputs = {_only_input(signature, "inputs"): inputs}
    _check_names(inputs, signature, "'inputs'")
    for name, values in inputs.items():
        if not isinstance(values, list):
            raise RequestError(f"'inputs': {name!r} must be a list with a value for each row.")
    return "outputs", inputs


def _example_columns(request: dict, signature: Signature) -> dict[str, list]:
    examples, context = request.get("examples"), request.get("context", {})
    if not isinstance(examples, list) or not isinstance(context, dict):
        raise RequestError("'examples' must be a list of objects, and 'context', if there is one, an object.")
    rows = []
    for row, example in enumerate(examples):
        if not isinstance(example, dict):
            raise RequestError(f"'examples': entry {row} is no object.")
        twice = sorted(context.keys() & example.keys())
        if twice:
            raise RequestError(f"'examples': entry {row} has {twice[0]!r}, which 'context' has too.")
        both = {**context, **example}
        # A feature is a value or a list of values; ours have one value each.
        rows.append({k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in both.items()})
    return _transposed(rows, signature, "examples")


def _transposed(rows: list, signature: Signature, place: str) -> dict[str, list]:
    """Objects into columns."""
    names = signature.inputs.keys()
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(f"'{place}': entry {number} is no object, but the first one is.")
        if row.keys() != names:
            _check_names(row, signature, f"'{place}': entry {number}")
    return {name: [row[name] for row in rows] for name in names}


def _check_names(given: dict, signature: Signature, place: str) -> None:
    wanted = ", ".join(signature.inputs)
    for name in given:
        if name not in signature.inputs:
            raise RequestError(f"{place}: there is no input {name!r}; the model takes {wanted}.")
    for name in signature.inputs:
        if name not in given:
            raise RequestError(f"{place}: the input {name!r} is missing; the model takes {wanted}.")


def _only_input(signature: Signature, place: str) -> str:
    if len(signature.inputs) > 1:
        raise RequestError(f"'{place}' must name the inputs, because the model takes {', '.join(signature.inputs)}.")
    return next(iter(signature.inputs))


def _array(name: str, values: list, spec: tf.TensorSpec) -> np.ndarray:
    """A column of JSON values as the array that an input wants."""
    if spec.dtype == tf.string:
        if spec.shape.rank != 1:
            raise RequestError(f"the input {name!r} has a shape that this server does not take.")
        for row, value in enumerate(values):
            if type(value) is not str:
                raise RequestError(f"{name!r}: row {row} is {_kind(value)}, not a string.")
        return np.array(values, object)
    try:
        array = np.array(values)
    except ValueError as error:  # lists of different lengths
        raise RequestError(f"{name!r}: the rows differ in shape.") from error
    wanted = spec.dtype.as_numpy_dtype
    kinds = "b" if spec.dtype.is_bool else "iu" if spec.dtype.is_integer else "iuf"
    if array.dtype.kind not in kinds:
        raise RequestError(f"{name!r}: the values must be of type {spec.dtype.name}.")
    if not spec.shape.is_compatible_with(array.shape):
        raise RequestError(f"{name!r}: the values have shape {list(array.shape)}, the model wants {spec.shape}.")
    if spec.dtype.is_integer and (array.min() < np.iinfo(wanted).min or array.max() > np.iinfo(wanted).max):
        raise RequestError(f"{name!r}: a value is too large for {spec.dtype.name}.")
    return array.astype(wanted)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", int: "a number", float: "a number", bool: "a boolean"}
    return names.get(type(value), "null")


def answer(asked: Asked, outputs: dict[str, np.ndarray], model: SavedModel, method: str) -> bytes:
    """The body that answers a request.

    Numbers are written as short as float32 allows, so that 0.2 stays 0.2. What is not finite becomes null, because JSON has no other
    name for it (TensorFlow Serving writes NaN, which is no JSON).

    Raises:
        RequestError: the method does not fit the model.
    """
    if method == "classify":
        if model.class_names is None or "scores" not in outputs:
            raise RequestError("the model is no classifier; ask it with :predict.")
        result: Any = [list(zip(model.class_names, row, strict=True)) for row in outputs["scores"]]
    elif method == "regress":
        if set(outputs) != {"score"}:
            raise RequestError("the model is no regressor; ask it with :predict.")
        result = outputs["score"]
    else:
        columns = {name: _jsonable(name, values) for name, values in outputs.items()}
        if len(columns) == 1:
            result = next(iter(columns.values()))
        elif asked.form == "outputs":
            result = columns
        else:
            result = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return orjson.dumps({asked.form: result}, option=orjson.OPT_SERIALIZE_NUMPY)


def _jsonable(name: str, values: np.ndarray):
    """Numbers as they are, for orjson; bytes as strings, or in base64 where the name says that they are none."""
    if values.dtype.kind not in "OS":
        return np.ascontiguousarray(values)
    if values.ndim > 1:
        return [_jsonable(name, row) for row in values]
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in values.tolist()]
    return [value.decode("utf-8", "replace") for value in values.tolist()]
