"""Raw results of the benchmarks: a JSON list, one row for each run, that several processes may add to."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path


def read_rows(path: Path) -> list[dict]:
    """The rows measured so far."""
    return json.loads(path.read_text()) if path.exists() else []


def has_row(path: Path, row: dict) -> bool:
    """Whether there is a row that agrees with `row` in all of its entries."""
    return any(all(old.get(name) == value for name, value in row.items()) for old in read_rows(path))


def add_row(path: Path, row: dict, key: Sequence[str]) -> None:
    """Put a row into the file, in place of an earlier one that has the same values of `key`, and print it; half a file is never left."""
    print(json.dumps(row, ensure_ascii=False), flush=True)
    path.parent.mkdir(exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [old for old in read_rows(path) if any(old.get(name) != row.get(name) for name in key)] + [row]
        beside = path.with_suffix(".partial")
        beside.write_text("[\n" + ",\n".join(" " + json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n")
        beside.replace(path)
