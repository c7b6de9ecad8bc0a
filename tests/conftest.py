"""What every test may use: tiny encoders made once per session, and the shared real data where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real data beside the checkout; tests that need it skip, visibly, without it."""
    folder = Path(os.environ.get("TL_KERAS_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data not found in {folder} (set TL_KERAS_SHARED)")
    return folder
