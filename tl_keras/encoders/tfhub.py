"""`tensorflow_hub`, imported without the warning that it gives about its own use of `pkg_resources`.

The warning is right (see `setuptools<82` in setup.cfg), but nothing that a user of this package could mend.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import tensorflow_hub as hub

__all__ = ["hub"]
