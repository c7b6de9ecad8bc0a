"""What the tests of faults share: one fault is one line."""

from __future__ import annotations

import pytest

from tl_keras import UserError


@pytest.fixture(scope="session")
def refused():
    """Call something that must be refused, and give the line that says why."""

    def line(act, *parts: str) -> str:
        with pytest.raises(UserError) as error:
            act()
        said = str(error.value)
        assert "\n" not in said, said
        for part in parts:
            assert part in said, said
        return said

    return line
