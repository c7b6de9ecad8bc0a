"""An index together with the encoder that made it, wherever that is now."""

from __future__ import annotations

import os
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.serving.index import TextIndex
from tl_keras.serving.index_files import read_meta
from tl_keras.serving.text_encoders import load_text_encoder


def open_index(folder: str | os.PathLike, encoder: str | None = None, *, exact: bool = False) -> TextIndex:
    """Load an index with its encoder: the one inside it, else the one it was built with.

    Args:
        folder: that `tl-keras index` wrote.
        encoder: where the encoder is now, if it has moved.
        exact: compare with every text, also where there is an approximate index.

    Raises:
        UserError: no index is there, its encoder is not at hand, or another encoder made it.
    """
    how = dict(read_meta(folder)["made_with"])
    inside = Path(folder) / how["encoder"]
    handle = encoder or (inside if inside.is_dir() else how["encoder"])
    known = {name: how[name] for name in ("seq_length", "pooling", "preprocessor") if name in how}
    try:
        model = load_text_encoder(handle, **known)
    except UserError as error:
        if encoder is not None:
            raise
        raise UserError(
            f"the encoder of the index {folder} is not at hand ({error}) Say where it is with --encoder."
        ) from error
    return TextIndex.load(folder, model, exact=exact)
