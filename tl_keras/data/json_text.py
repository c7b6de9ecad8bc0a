"""JSON that users give: what is wrong with it is one line that names the place."""

from __future__ import annotations

import json

from tl_keras.errors import UserError


def parse_object(text: str, where: str) -> dict:
    """A JSON object from a text.

    Raises:
        UserError: it is none; the message begins with `where`.
    """
    row = parse_json(text, where, whole=False)
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected an object with names, not a {type(row).__name__}.")
    return row


def parse_json(text: str, where: str, whole: bool = True):
    """What a JSON text says.

    Args:
        text: the JSON.
        where: it stands, for messages.
        whole: whether it is a whole file, in which lines have numbers.

    Raises:
        UserError: it is no JSON, too deeply nested, or holds half a character; the message begins with `where`.
    """
    try:
        found = json.loads(text)
        # Half a surrogate pair can be written in JSON, but is no text: nothing could be made of it later on.
        if "\\u" in text or "\\U" in text:
            entries = found if isinstance(found, list) else [found]
            for entry, part in enumerate(entries, 1):
                at = f"{where}, entry {entry}" if entries is found else where
                json.dumps(part, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if whole else ""
        raise UserError(f"{where}{line}: not JSON ({error.msg}, column {error.colno}).") from error
    except RecursionError:
        raise UserError(f"{where}: the JSON is nested too deeply to be read.") from None
    except UnicodeEncodeError as error:
        raise UserError(
            f"{at}: half a character (surrogate {error.object[error.start]!a}) stands alone; repair the text."
        ) from None
    return found


def is_json_lines(content: str) -> bool:
    """Whether the first line of a text is an object by itself, and no whole file in the format of SQuAD."""
    try:
        first = json.loads(content.lstrip().split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and not isinstance(first.get("data"), list)
