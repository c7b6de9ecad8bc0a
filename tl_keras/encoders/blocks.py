"""Which weights belong together? An encoder's trainable variables as embeddings, blocks and pooler.

Learned from the graph and not from names, which every exporter chooses anew: a block's variables are those that its output has a
gradient for and the output of the block below has not.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import os
import re
from collections.abc import Iterable

from tl_keras.encoders.saved_graph import FlatGraph, SavedEncoder, read_encoder
from tl_keras.errors import UserError

EMBEDDINGS, POOLER, UNUSED, WHOLE, HEAD = "embeddings", "pooler", "unused", "encoder", "head"
# What tells a tensor's size only: no gradient flows through it, and it says nothing about the values.
_SIZES = frozenset({"Shape", "ShapeN", "Size", "Rank"})


@dataclasses.dataclass(frozen=True)
class Part:
    """Weights that learn together.

    Attributes:
        name: `"embeddings"`, `"block 0"`, ..., `"pooler"` (all that comes after the last block), `"unused"` (in no output), or
            `"blocks 0-3"` for blocks that share weights.
        indices: places in the encoder's list `trainable_variables`.
        blocks: numbers of the blocks that these weights are of.
    """

    name: str
    indices: tuple[int, ...]
    blocks: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Parts:
    """All trainable variables of an encoder, each in one part, from the input to the output.

    Attributes:
        parts: in the order of the flow; empty ones are left out.
        block_count: how many blocks the encoder has; 0 if it shows none.
        notes: what could not be told apart, in sentences.
    """

    parts: tuple[Part, ...]
    block_count: int
    notes: tuple[str, ...] = ()

    def matching(self, pattern: str, more: Iterable[str] = ()) -> list[str]:
        """Names of the parts that a pattern means: `"block 2"`, `"block *"`; case, spaces, `-` and `_` do not matter.

        Args:
            pattern: a name, with `*` and `?` for any characters.
            more: names of further parts, such as the head.

        Raises:
            UserError: it means none.
        """
        names = [*(part.name for part in self.parts), *more]
        found = [name for name in names if fnmatch.fnmatchcase(_plain(name), _plain(pattern))]
        if not found:
            raise UserError(f"no part of the model is called {pattern!r}; it has: {', '.join(names)}.")
        return found

    def upper(self, count: int) -> set[str]:
        """Names of the parts from the `count` uppermost blocks to the end of the encoder.

        Raises:
            UserError: there are not so many blocks, or they share weights with those below.
        """
        self.require_blocks(count)
        lowest = self.block_count - count
        names = set()
        for part in self.parts:
            if part.blocks and min(part.blocks) < lowest <= max(part.blocks):
                raise UserError(
                    f"the top {count} of {self.block_count} blocks cannot learn alone: they share their weights with the blocks "
                    f'below ({part.name}). Choose "freeze" or "fine-tune".'
                )
            if part.name == POOLER or (part.blocks and min(part.blocks) >= lowest):
                names.add(part.name)
        return names

    def require_blocks(self, count: int) -> None:
        """Raise `UserError` unless the encoder has at least `count` blocks."""
        if not self.block_count:
            raise UserError(
                "this encoder does not show its blocks (it is a text embedding module, or gives no encoder_outputs), so it can only "
                'be frozen or fine-tuned as a whole: choose "freeze" or "fine-tune".'
            )
        if count > self.block_count:
            raise UserError(f"the encoder has {self.block_count} blocks, not {count}.")


def find_parts(folder: str | os.PathLike, variable_count: int, layers: int | None = None) -> Parts:
    """Group an encoder's trainable variables.

    Args:
        folder: its SavedModel.
        variable_count: how many trainable variables it has, for encoders that show no blocks: these become one part, `"encoder"`.
        layers: only the first so many blocks are in use.

    Raises:
        UserError: there are fewer blocks than `layers`.
    """
    try:
        parts = group(read_cached(folder))
    except UserError:
        if layers is not None:
            raise
        return Parts((Part(WHOLE, tuple(range(variable_count))),), 0)
    return parts if layers is None else first_blocks(parts, layers)


def read_cached(folder: str | os.PathLike) -> SavedEncoder:
    """`read_encoder`, once for each state of the file."""
    folder = os.fspath(folder)
    try:
        status = os.stat(os.path.join(folder, "saved_model.pb"))
        state = (status.st_mtime_ns, status.st_size)
    except OSError:
        state = None
    return _read_cached(folder, state)


@functools.lru_cache(maxsize=8)
def _read_cached(folder: str, state) -> SavedEncoder:
    return read_encoder(folder)


def first_blocks(parts: Parts, layers: int) -> Parts:
    """The parts of an encoder of which only the first `layers` blocks are left; variables are counted anew.

    Raises:
        UserError: there are not so many, or fewer than one is asked for.
    """
    if layers < 1:
        raise UserError(f"layers must be at least 1, not {layers}.")
    parts.require_blocks(layers)
    left = [part for part in parts.parts if not part.blocks or min(part.blocks) < layers]
    place = {old: new for new, old in enumerate(sorted(index for part in left for index in part.indices))}
    renamed = []
    for part in left:
        blocks = tuple(block for block in part.blocks if block < layers)
        name = part.name if blocks == part.blocks else _blocks_name(blocks)
        renamed.append(Part(name, tuple(place[index] for index in part.indices), blocks))
    return Parts(tuple(renamed), layers, parts.notes)


def group(encoder: SavedEncoder) -> Parts:
    """Group the trainable variables of an encoder by the blocks that use them.

    Args:
        encoder: from `read_encoder`.
    """
    graph = encoder.graph
    place = {index: i for i, index in enumerate(encoder.trainable_variables)}
    variables = {tensor.rsplit(":", 1)[0]: place[index] for tensor, index in graph.captures.items() if index in place}
    ends = [_node(graph.source(tensor)) for tensor in graph.outputs["encoder_outputs"]]
    start = _end_of_embeddings(graph, ends[0])
    used: list[set[int]] = []
    for i, end in enumerate(ends):
        below = {*ends[:i], *([start] if start else [])}
        used.append({variables[name] for name in above(graph, [end], below) if name in variables})
    embeddings = {variables[name] for name in above(graph, [start], ()) if name in variables} if start else set()
    others = [graph.outputs[name] for name in ("pooled_output", "sequence_output", "default") if name in graph.outputs]
    others = [_node(graph.source(tensor)) for tensor in others if isinstance(tensor, str)]
    last = {*ends, *([start] if start else [])}
    pooler = {variables[name] for name in above(graph, others, last) if name in variables}
    return _parts(len(place), embeddings, used, pooler, start is not None)


def above(graph: FlatGraph, nodes: Iterable[str], stops: Iterable[str]) -> set[str]:
    """All nodes and arguments that `nodes` are made of, `nodes` among them; nothing from `stops` on.

    A node that is itself to be explained is walked from even if it is among the stops.
    """
    stops, found, left = set(stops), set(nodes), list(nodes)
    stops -= found
    while left:
        node = graph.nodes.get(left.pop())
        for tensor in node.input if node is not None else ():
            name = _node(tensor)
            if name not in found and name not in stops:
                found.add(name)
                left.append(name)
    return found


def _below(graph: FlatGraph, argument: str) -> set[str]:
    """All nodes that depend on the values (not only the size) of an argument."""
    found = {argument}
    for name, node in graph.nodes.items():  # inputs come before users
        if node.op not in _SIZES and any(_node(tensor) in found for tensor in node.input):
            found.add(name)
    return found


def _end_of_embeddings(graph: FlatGraph, first_output: str) -> str | None:
    """The node whose output goes into the first block; None if it cannot be told.

    All that the block knows of the words comes through this one tensor; it is the last such tensor that does not depend on the
    mask yet, which every block uses again.
    """
    if not {"input_word_ids", "input_mask"} <= set(graph.inputs):
        return None
    masked = _below(graph, _node(graph.inputs["input_mask"]))
    if first_output not in masked:
        return None
    words = _node(graph.inputs["input_word_ids"])
    on_path = _below(graph, words) & above(graph, [first_output], ())
    order = [words, *(name for name in graph.nodes if name in on_path)]
    position = {name: i for i, name in enumerate(order)}
    found, reach = None, 0  # reach: the furthest node that an edge from the nodes so far goes to
    users: dict[str, int] = {}
    for name in order[1:]:
        for tensor in graph.nodes[name].input:
            source = _node(tensor)
            if source in position:
                users[source] = max(users.get(source, 0), position[name])
    for i, name in enumerate(order):
        # No edge leaps over it, so every path goes through it.
        if reach <= i and i and name not in masked:
            found = name
        reach = max(reach, users.get(name, 0))
    return found


def _parts(count: int, embeddings: set[int], used: list[set[int]], pooler: set[int], separated: bool) -> Parts:
    notes = []
    blocks = [set(block) - embeddings for block in used]
    pooler = pooler - embeddings - set().union(*blocks)
    times = {index: [i for i, block in enumerate(blocks) if index in block] for index in set().union(*blocks)}
    own = [{index for index in block if len(times[index]) == 1} for block in blocks]
    joined = [[i] for i in range(len(blocks))]
    beside = set()
    for index, users in sorted(times.items()):
        if len(users) > 1 and all(own[i] for i in users):
            # Such as one table of relative positions for all blocks: it belongs to none of them.
            beside.add(index)
        elif len(users) > 1:
            first, last = (next(g for g in joined if i in g) for i in (users[0], users[-1]))
            if first is not last:
                low, high = joined.index(first), joined.index(last)
                joined[low : high + 1] = [[i for g in joined[low : high + 1] for i in g]]
    if beside:
        notes.append(f"{len(beside)} variables are used by several blocks and count with the embeddings.")
    found = [Part(EMBEDDINGS, tuple(sorted(embeddings | beside)))] if separated or beside else []
    for numbers in joined:
        indices = tuple(sorted(set().union(*(blocks[i] for i in numbers)) - beside))
        name = _blocks_name(tuple(numbers))
        if len(numbers) > 1:
            notes.append(f"{name} share their weights, so they cannot learn apart.")
        if not separated and not numbers[0]:
            notes.append(f"{name} and the embeddings cannot be told apart: {name} stands for both.")
        found.append(Part(name, indices, tuple(numbers)))
    found.append(Part(POOLER, tuple(sorted(pooler))))
    rest = set(range(count)) - {index for part in found for index in part.indices}
    found.append(Part(UNUSED, tuple(sorted(rest))))
    return Parts(tuple(part for part in found if part.indices or part.blocks), len(blocks), tuple(notes))


def _blocks_name(numbers: tuple[int, ...]) -> str:
    return f"block {numbers[0]}" if len(numbers) == 1 else f"blocks {numbers[0]}-{numbers[-1]}"


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def _node(tensor: str) -> str:
    return tensor.rsplit(":", 1)[0]
