"""The public names: each is what it says, whatever has been imported before."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import tl_keras as tlk

NAMESPACES = ("tl_keras.data", "tl_keras.training", "tl_keras.plots")


@pytest.mark.parametrize("namespace", ["tl_keras", *NAMESPACES])
def test_names_are_not_hidden_by_modules_of_the_same_name(namespace):
    package = importlib.import_module(namespace)
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        if not module.name.startswith("__"):
            importlib.import_module(f"{namespace}.{module.name}")
    wrong = [
        name
        for name in package.__all__
        if isinstance(getattr(package, name), ModuleType) and f"{namespace}.{name}" not in NAMESPACES
    ]
    assert wrong == []


def test_names_have_a_docstring_and_stand_where_they_are_said_to():
    for name in tlk.__all__:
        value = getattr(tlk, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__name__ == name
            assert inspect.getdoc(value), name
