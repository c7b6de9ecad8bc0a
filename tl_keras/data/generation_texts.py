"""Texts to learn a language from: a text a line, a column of a table, or prompts with completions."""

from __future__ import annotations

import os
from pathlib import Path

from tl_keras.data.examples import Examples
from tl_keras.data.table import read_table
from tl_keras.data.text_files import decode_file
from tl_keras.errors import UserError


def read_texts(
    path: str | os.PathLike,
    text: str = "text",
    *,
    prompt: str | None = None,
    completion: str | None = "completion",
    quoting: str = "auto",
    encoding: str = "utf-8",
) -> Examples:
    """Read texts for a language model.

    Args:
        path: `.txt` with a text a line (empty lines are left out), or CSV or TSV with a header line.
        text: column with the text.
        prompt: column with the prompt; `text` is then not read.
        completion: column with what follows the prompt; None to read prompts alone.
        quoting: as for `read_table`.
        encoding: of the file.

    Returns:
        Texts; for prompts with completions, pairs of the two.

    Raises:
        UserError: the file cannot be read, or is plain text where columns were asked for.
    """
    path = Path(path)
    if Path(str(path).removesuffix(".gz")).suffix == ".txt":
        if prompt is not None:
            raise UserError(f"{path} is plain text and has no columns, so --prompt means nothing to it; leave it out.")
        lines = [line.strip() for line in decode_file(path, encoding).split("\n")]
        if not any(lines):
            raise UserError(f"{path} holds no text.")
        return Examples.from_lists([line for line in lines if line], source=str(path))
    pair = completion if prompt is not None else None
    return read_table(path, prompt or text, None, pair, quoting=quoting, encoding=encoding)
