"""A pre-trained encoder as a step of scikit-learn pipelines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from tl_keras.errors import UserError

if TYPE_CHECKING:
    from tl_keras.encoders.base import Encoder


class TextEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turns texts into a frozen encoder's vectors, for any classifier, regressor or clustering of scikit-learn.

    Nothing is learned from the data: `fit` only checks that the encoder is there, and `transform` works without it. The encoder is
    loaded when first needed and shared by all copies in the process, so `clone` and `GridSearchCV` cost no loading; a pickle holds the
    parameters, not the weights. Vectors are computed anew in each `fit`: in a search over the classifier's parameters, give the
    pipeline a `memory=`, so that each text is encoded once.

    Args:
        encoder: handle of a pre-trained encoder, or what `load_encoder` gave; or the path of a trained sentence encoder, a run folder
            or an export.
        pooling: `"mean"` (the default), `"max"` or `"cls"`; see `tl_keras.encode`.
        seq_length: longest text in tokens; 128 by default.
        layers: use the encoder's first so many blocks only.
        normalize: give vectors of length 1.
        batch_size: texts in a batch.
        preprocessor: handle of the preprocessing module, where it is not known.

    Call arguments: a list, array or Series of `n` strings, or a table of one column; returns float32 `[n, width]`.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> model = make_pipeline(tlk.TextEncoder(encoder), LogisticRegression(max_iter=1000))
        >>> model.fit(["정말 재미있었어요", "very dull"], ["positive", "negative"]).predict(["very dull"]).tolist()
        ['negative']
    """

    def __init__(
        self,
        encoder: str | os.PathLike | Encoder = "ko-en-small",
        *,
        pooling: str | None = None,
        seq_length: int | None = None,
        layers: int | None = None,
        normalize: bool = False,
        batch_size: int = 64,
        preprocessor: str | None = None,
    ):
        # scikit-learn's rule: kept as they are, and checked in `fit`.
        self.encoder = encoder
        self.pooling = pooling
        self.seq_length = seq_length
        self.layers = layers
        self.normalize = normalize
        self.batch_size = batch_size
        self.preprocessor = preprocessor

    def fit(self, X, y=None) -> TextEncoder:
        """Check the parameters and the texts.

        Args:
            X: `n` strings.
            y: ignored.

        Raises:
            UserError: the encoder is not found, an option does not fit it, or the texts are no strings.
        """
        _strings(X)
        if self.batch_size < 1:
            raise UserError(f"the batch size must be at least 1, not {self.batch_size}.")
        self._source()
        return self

    def transform(self, X) -> np.ndarray:
        """The texts' vectors.

        Args:
            X: `n` strings.

        Returns:
            Float32 `[n, width]`.

        Raises:
            UserError: as for `fit`.
        """
        from tl_keras.serving.encode import encode

        options = {"normalize": self.normalize, "batch_size": self.batch_size}
        return encode(self.encoder, _strings(X), **self._how(), **options)

    def _how(self) -> dict:
        return {name: getattr(self, name) for name in ("pooling", "seq_length", "layers", "preprocessor")}

    def _source(self):
        # Here, so that TensorFlow is imported where texts are encoded, not where a pickle is opened.
        from tl_keras.serving.encode import as_vector_source

        return as_vector_source(self.encoder, **self._how())

    @property
    def _n_features_out(self) -> int:
        """The width of the vectors, for `get_feature_names_out`."""
        return self._source().width

    def __sklearn_is_fitted__(self) -> bool:
        """Always: there is nothing to learn."""
        return True

    def __sklearn_tags__(self):
        """What scikit-learn 1.6 and later ask for."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _more_tags(self) -> dict:
        """What earlier versions ask for."""
        return {"X_types": ["string"], "stateless": True, "requires_fit": False, "preserves_dtype": []}


def _strings(X) -> list[str]:
    """Texts in whatever scikit-learn hands on, as a list.

    Raises:
        UserError: they are no strings, or there is not one for each row.

    Example:
        >>> _strings(np.array([["good"], ["bad"]], object))
        ['good', 'bad']
    """
    if isinstance(X, (str, bytes)):
        raise UserError(f"texts must be a list of strings, not one string: write [{X[:40]!r}].")
    if len(getattr(X, "shape", ())) > 1 or hasattr(X, "columns"):
        columns = X.shape[1]
        if columns != 1 or len(X.shape) > 2:
            raise UserError(
                f"texts must be one column, not {columns}: choose it, for instance with "
                'ColumnTransformer([("text", TextEncoder(), "name of the column")]).'
            )
        X = X.to_numpy() if hasattr(X, "to_numpy") else np.asarray(X)
        X = X[:, 0]
    texts = list(X)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"texts: entry {row + 1} is {type(text).__name__} ({str(text)[:40]!r}), not a string.")
    return texts
