"""What a page needs of a run folder besides its model: examples to try, out of what the run got wrong, as its `report.md` says."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.saved_models import versions_of

logger = logging.getLogger(__name__)

# Section of the report, and its columns that a view takes as inputs. Without the context a question is no example: see below.
SECTIONS = {
    "Most confident errors": ("text",),
    "Largest disagreements in rank": ("text", "other text"),
    "Wrong document first": ("question", "right document"),
}
CUT = "…"
"""Ends a cell that shows only the beginning of a text."""


def check_for_page(path: str | os.PathLike) -> None:
    """Say, before TensorFlow is waited for, that there is no model at a path.

    Raises:
        UserError: there is neither an index nor a SavedModel.
    """
    if not (Path(path) / "vectors.npy").is_file():
        versions_of(path)


def run_examples(run: str | os.PathLike, inputs: int) -> list[list[str]]:
    """What a run got wrong on its validation examples, as inputs to try.

    Texts too long for the report are left out; those of question answering are looked up in the run's data, if that is still there.

    Args:
        run: a run folder; anything else has no examples.
        inputs: texts that the model takes at once.

    Returns:
        Lists of `inputs` texts; empty if there are none.
    """
    run = Path(run)
    report, config = run / "report.md", run / "config.json"
    if not report.is_file() or not config.is_file():
        return []
    text, settings = report.read_text("utf-8"), json.loads(config.read_text("utf-8"))
    if settings.get("task") == "question-answering":
        questions = {row["question"] for row in rows_under(text, "Most confident errors")}
        return _with_contexts(questions, settings)
    for title, columns in SECTIONS.items():
        found = [[row[name] for name in columns] for row in rows_under(text, title) if set(columns) <= row.keys()]
        if found:
            # A pair of a classifier stands in one cell.
            rows = [row[0].split(" / ", 1) if (len(row), inputs) == (1, 2) else row for row in found]
            return [row for row in rows if len(row) == inputs and not any(cell.endswith(CUT) for cell in row)]
    return []


def rows_under(markdown: str, title: str) -> list[dict[str, str]]:
    r"""The rows of the table under a title, by column; empty if there is none.

    Example:
        >>> rows_under("## Errors\n\n| text | label |\n|---|---|\n| a \\| b | x |\n", "Errors")
        [{'text': 'a | b', 'label': 'x'}]
    """
    _, found, behind = markdown.partition(f"## {title}\n")
    table = []
    for line in behind.lstrip("\n").splitlines() if found else []:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        table.append([cell.strip().replace("\\|", "|") for cell in cells])
    # Head, rule, rows.
    return [dict(zip(table[0], row, strict=False)) for row in table[2:]]


def _with_contexts(questions: set[str], settings: dict) -> list[list[str]]:
    from tl_keras.data.squad import read_squad

    for name in ("validation", "train"):
        path = settings.get(name)
        if not path:
            continue
        try:
            data = read_squad(path)
        except UserError as error:
            logger.warning("No examples: %s", error)
            continue
        pairs = zip(data.questions, data.contexts, strict=True)
        found = [[question, context] for question, context in pairs if " ".join(question.split()) in questions]
        if found:
            return found[:10]
    return []
