"""Memory that is freed stays with the process while it trains."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from tl_keras.training.memory import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
faults = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(20_000_000, "float32")  # 80 MB, more than glibc ever keeps by itself
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(kept, min(faults[1:]))
"""


def run(what: str, **variables: str) -> tuple[str, int]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, what], env={**env, **variables}, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_large_blocks_are_handed_out_again():
    # Pages of 4 KB or, where the system gives huge ones, of 2 MB: 80 MB are at least 38 of them.
    assert run("leave")[1] >= 38
    assert run("keep") == ("True", pytest.approx(0, abs=5))


def test_what_the_user_has_set_is_left_alone():
    assert run("keep", MALLOC_ARENA_MAX="2")[0] == "False"
