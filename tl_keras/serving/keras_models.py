"""Keras models of this package: the predictor of each one's task, and loading a `.keras` file in a process that has not built a model yet."""

from __future__ import annotations

import builtins
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tl_keras._keras import KERAS_NAME, find_layer, keras
from tl_keras.encoders.word_vectors import layer as _word_vectors  # noqa: F401
from tl_keras.errors import UserError

# Importing them registers the layers, models and optimizers that the file names.
from tl_keras.models import builders as _builders  # noqa: F401
from tl_keras.models import elmo as _elmo  # noqa: F401
from tl_keras.models import few_shot as _few_shot  # noqa: F401
from tl_keras.models import pair_builders as _pair_builders  # noqa: F401
from tl_keras.models.heads import ClassProbabilities, is_tagger, tag_head_of
from tl_keras.models.language_model import LanguageModel, is_generator
from tl_keras.models.pair_heads import (
    is_answerer,
    is_regressor,
    is_sentence_encoder,
    score_head_of,
    sentence_encoder_of,
    span_head_of,
)
from tl_keras.paths import on_disk
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.generator import TextGenerator
from tl_keras.serving.predictor import Predictor
from tl_keras.serving.scorers import Classifier, Regressor, SentenceEncoder
from tl_keras.serving.served_model import served_model
from tl_keras.serving.tagger import Tagger


def keras_predictor(model: keras.Model) -> Predictor:
    """The predictor of a Keras model.

    Raises:
        UserError: it is none of this package's.
    """
    if not isinstance(model, keras.Model):
        raise UserError(
            f"expected a Keras model, a path to an export or a loaded export, not a {type(model).__name__}."
        )
    for is_one, head_of, kind in _KINDS:
        if is_one(model):
            model = sentence_encoder_of(model) if kind is SentenceEncoder else model
            served = served_model(model)
            served.head = head_of(model)
            predictor = kind.of_model(served)
            predictor.model, predictor.served = model, served
            return predictor
    raise UserError(f"the model {model.name!r} has no class names: build it with text_classifier(...).")


def _class_head_of(model: keras.Model) -> ClassProbabilities | None:
    return find_layer(model, ClassProbabilities)


_KINDS = (
    (is_tagger, tag_head_of, Tagger),
    (is_answerer, span_head_of, Answerer),
    (is_sentence_encoder, lambda model: int(model.output_shape[-1]), SentenceEncoder),
    (is_generator, LanguageModel.of, TextGenerator),
    (is_regressor, score_head_of, Regressor),
    (_class_head_of, _class_head_of, Classifier),
)


_TRUSTED = ("keras", "tf_keras", "tl_keras", "builtins")
"""Packages whose layers a file may name."""


def load_model(path: str | os.PathLike, *, unsafe: bool = False) -> keras.Model:
    """Load a model that `model.save("....keras")` wrote.

    Keras's own `load_model` does the same once this package's builders have been imported, which this function sees to, and trusts the
    file more: it imports what the file names.

    Args:
        path: the `.keras` file. The encoder's folder must still be where it was when the model was built.
        unsafe: also run code that the file brings (Lambda layers), and import what it names outside Keras, this package and what is
            registered already. For files that you trust as you trust a program.

    Raises:
        UserError: no such file, it was written by the other Keras, or it brings or names code and `unsafe` does not allow that.
    """
    path = on_disk(path)
    if not path.exists():
        raise UserError(f"there is no file {path}.")
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, not a .keras file; what export wrote is loaded by load_exported, or given to predict as it is."
        )
    if not unsafe:
        _refuse_code(path)
    try:
        return keras.models.load_model(path, safe_mode=not unsafe)
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError, OSError) as error:
        inner = error
        while inner is not None and not isinstance(inner, UserError):
            inner = inner.__cause__ or inner.__context__
        if inner is not None:
            raise UserError(
                f"{path} cannot be loaded: {inner} The encoder's folder has to be where it was when the model was built."
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be loaded with {KERAS_NAME}: {reason} (a .keras file belongs to the Keras that wrote it; "
            "an export loads anywhere)."
        ) from error


def _refuse_code(path: Path) -> None:
    """Raise `UserError` if a `.keras` file brings code, or names some that is not Keras's, ours or registered."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is no whole .keras file ({' '.join(str(error).split())}); older formats (.h5) can hold code: load them with Keras itself "
            "if you trust them."
        ) from error
    for entry in _entries(config):
        name, module = str(entry.get("class_name")), entry.get("module")
        if name in ("Lambda", "__lambda__") or (module == "builtins" and hasattr(builtins, str(entry.get("config")))):
            raise UserError(
                f"{path} brings code of its own ({name}); pass unsafe=True if you trust the file as a program."
            )
        known = module is None or str(module).split(".")[0] in _TRUSTED
        if not known and keras.saving.get_registered_object(str(entry.get("registered_name"))) is None:
            raise UserError(
                f"{path} names code outside Keras and this package, {module}.{name}; import and register it "
                "(keras.saving.register_keras_serializable) before, or pass unsafe=True if you trust the file as a program."
            )


def _entries(config) -> Iterator[dict]:
    """All objects that a configuration describes, however deep."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
