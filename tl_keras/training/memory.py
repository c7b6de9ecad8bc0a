"""Memory of a process while it trains."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

# Names and numbers of mallopt(3): no block by mmap, none given back, grow by 64 MB, one heap for all threads. Large blocks do not fit into
# the 64 MB heaps that other threads have, and would be mapped all the same.
_MALLOC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 64 * 2**20, -8: 1}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD, M_ARENA_MAX


@functools.lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let the C library keep large blocks that TensorFlow frees, and hand them out again.

    Each training step frees and takes gradients as large as the word vectors. By default glibc gives such blocks back to the system at
    once, and the next step has to map and clear each page anew, a tenth of its CPU time. Resident memory stays at its peak instead. Only glibc has these settings, and whoever sets `MALLOC_...` variables or `GLIBC_TUNABLES` has chosen.

    Returns:
        Whether anything was set.

    Source: mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    # A list, so that all are set, whatever the first answers.
    return all([libc.mallopt(option, value) == 1 for option, value in _MALLOC_OPTIONS.items()])  # noqa: C419
