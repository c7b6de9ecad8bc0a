"""Loading a `.keras` file again, in a process that has not built a model yet."""

from __future__ import annotations

import os
from pathlib import Path

from tl_keras._keras import KERAS_NAME, keras
from tl_keras.encoders.word_vectors import layer as _word_vectors  # noqa: F401
from tl_keras.errors import UserError

# Importing them registers the layers, models and optimizers that the file names.
from tl_keras.models import elmo as _elmo  # noqa: F401
from tl_keras.models import question_answerer as _question_answerer  # noqa: F401
from tl_keras.models import sentence_encoder as _sentence_encoder  # noqa: F401
from tl_keras.models import text_classifier as _text_classifier  # noqa: F401
from tl_keras.models import text_regressor as _text_regressor  # noqa: F401
from tl_keras.models import token_classifier as _token_classifier  # noqa: F401


def load_model(path: str | os.PathLike) -> keras.Model:
    """Load a model that `model.save("....keras")` wrote.

    Keras's own `load_model` does the same once this package's builders have been imported, which this function sees to.

    Args:
        path: the `.keras` file. The encoder's folder must still be where it was when the model was built.

    Raises:
        UserError: no such file, or it was written by the other Keras.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no file {path}.")
    try:
        return keras.models.load_model(path)
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be loaded with {KERAS_NAME}: {reason} (a .keras file belongs to the Keras that wrote it; "
            "an export loads anywhere)."
        ) from error
