"""Public names that are imported when first used, so that importing a package is quick and loads no TensorFlow."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping


def lazy_names(package: str, public: Mapping[str, str]) -> tuple[Callable, Callable]:
    """A package's `__getattr__` and `__dir__`.

    Args:
        package: its name.
        public: from each public name to the module that has it. A name that stands for a module is that module's last part.

    Example:
        >>> get, names = lazy_names("tl_keras", {"UserError": "tl_keras.errors", "data": "tl_keras.data"})
        >>> get("UserError").__name__, get("data").__name__, names()
        ('UserError', 'tl_keras.data', ['UserError', 'data'])
    """

    def get(name: str):
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(public[name])
        value = module if public[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(public)
