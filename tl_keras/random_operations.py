"""Dropout inside a loaded SavedModel: made to follow the global seed, and to begin anew where a training may be taken up again.

Such a graph draws its masks from operations with counters that nobody can read. Two numbers in the graph say where they begin; where
both are 0, as exporters leave them, TensorFlow takes the clock instead.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.python.saved_model import loader_impl

if TYPE_CHECKING:
    from tensorflow.core.framework import node_def_pb2

_READ = "parse_saved_model_with_debug_info"
_lock = threading.RLock()


def global_seed() -> int | None:
    """What `tf.random.set_seed` or `keras.utils.set_random_seed` was given last; None if neither was called.

    Example:
        >>> tf.random.set_seed(5)
        >>> global_seed()
        5
    """
    # A graph takes the seed over from the eager context, which has no public way to ask.
    return tf.__internal__.FuncGraph("seed").seed


def seed_random_operations(nodes: Iterable[node_def_pb2.NodeDef], seed: int) -> int:
    """Give random operations that have no seed one of their own, each another one.

    Args:
        nodes: changed in place.
        seed: any integer.

    Returns:
        How many were changed.
    """
    graph, seeded, kinds = tf.Graph(), 0, {}
    for node in nodes:
        if node.op not in kinds:
            kinds[node.op] = _draws(graph, node.op)
        # An attribute with its default value, 0, is left out of files.
        if kinds[node.op] and not (node.attr["seed"].i or node.attr["seed2"].i):
            seeded += 1
            node.attr["seed"].i, node.attr["seed2"].i = seed % 2**31, seeded
    return seeded


def _draws(graph: tf.Graph, op: str) -> bool:
    """Whether an operation draws numbers, from a counter of its own."""
    try:
        definition = graph.op_def_for_type(op)
    except (RuntimeError, tf.errors.NotFoundError):
        return False  # one that is not registered yet: a call of a function, or of a library that is imported later
    return definition.is_stateful and {"seed", "seed2"} <= {attribute.name for attribute in definition.attr}


@contextlib.contextmanager
def seeded_loading() -> Iterator[None]:
    """While this lasts, `tf.saved_model.load` seeds a SavedModel's random operations from the global seed, if there is one.

    So the same seed gives the same training twice, with dropout inside the module too.
    """
    seed = global_seed()
    if seed is None:
        yield
        return
    read = getattr(loader_impl, _READ)

    def seeded(folder):
        model, debug_info = read(folder)
        for graph in model.meta_graphs:
            seed_random_operations(
                (node for function in graph.graph_def.library.function for node in function.node_def), seed
            )
        return model, debug_info

    # TensorFlow's loader takes no graph, only a folder; a changed copy of the folder would outlive a process that is killed.
    with _lock:
        setattr(loader_impl, _READ, seeded)
        try:
            yield
        finally:
            setattr(loader_impl, _READ, read)


def restart_random_operations() -> None:
    """Have random operations in graphs draw again from where their seeds begin.

    Their counters are in no checkpoint. Where they begin anew at each one, a training that goes on there draws as one that was never
    interrupted. Nothing happens without a global seed.
    """
    seed = global_seed()
    if seed is not None:
        # It also throws away the operations that were made so far, and their counters with them.
        tf.random.set_seed(seed)
