"""What does an encoder compute? Its function as one flat graph, read from the SavedModel's file without loading it.

Exporters wrap layer in layer, and each becomes a function that calls the next. Here all calls are written out, so that one can walk
from an output back to what it is made of, and take away what is not wanted.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tl_keras.errors import UserError

if TYPE_CHECKING:
    from tensorflow.core.framework import function_pb2, node_def_pb2

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


@dataclasses.dataclass
class FlatGraph:
    """The graph of one function without inner calls. Tensors are named `node:index`, arguments of the function `argument:0`.

    Attributes:
        nodes: by name, inputs before users; their inputs are tensor names. Order among nodes that do not use one another is not
            kept (control edges): an encoder has no side effects to order.
        inputs: tensor of each input of the encoder, e.g. `"input_word_ids"`.
        captures: tensor of each captured argument -> index of the object in the SavedModel that it stands for.
        outputs: tensors by output name; a list of them for `"encoder_outputs"`.
        shapes: of the outputs, by name; for a list, of each of them. None stands for any size, or for any shape.
        library: functions that loops and branches in `nodes` refer to.
        versions: of the graph's format.
    """

    nodes: dict[str, node_def_pb2.NodeDef]
    inputs: dict[str, str]
    captures: dict[str, int]
    outputs: dict[str, str | list[str]]
    shapes: dict[str, list[int | None] | None]
    library: list[function_pb2.FunctionDef]
    versions: object

    def source(self, tensor: str) -> str:
        """The tensor that `tensor` is a mere copy of."""
        while True:
            name, index = tensor.rsplit(":", 1)
            node = self.nodes.get(name)
            if node is None or node.op not in {"Identity", "IdentityN"}:
                return tensor
            tensor = node.input[int(index)]


@dataclasses.dataclass(frozen=True)
class SavedEncoder:
    """What a SavedModel's file says about its encoder.

    Attributes:
        variables: index in the SavedModel of each object in the list `variables`.
        trainable_variables: the same for the list `trainable_variables`.
        graph: for `training=False`.
        training_graph: for `training=True`; the same object as `graph` if the encoder does not tell them apart.
        losses: for each of `regularization_losses` the indices of the variables it reads.
    """

    variables: list[int]
    trainable_variables: list[int]
    graph: FlatGraph
    training_graph: FlatGraph
    losses: list[set[int]]


def read_encoder(folder: str) -> SavedEncoder:
    """Read the encoder in a SavedModel.

    Args:
        folder: the SavedModel, local or on a file system that TensorFlow reads.

    Raises:
        UserError: it is no encoder with `encoder_outputs`, or in a format without an object graph.
    """
    meta = _read_meta_graph(folder)
    objects = meta.object_graph_def
    if not objects.nodes:
        raise UserError(f"{folder} is in TF1's format, which does not tell its variables apart.")
    children = {child.local_name: child.node_id for child in objects.nodes[0].children}
    library = {function.signature.name: function for function in meta.graph_def.library.function}
    ops = {op.name: op for op in meta.meta_info_def.stripped_op_list.op}
    found = {}
    for name in objects.nodes[children["__call__"]].function.concrete_functions if "__call__" in children else ():
        signature = objects.concrete_functions[name]
        inputs, training = _inputs_of(signature.canonicalized_input_signature)
        if "input_word_ids" in inputs and "encoder_outputs" in signature.output_signature.dict_value.fields:
            found.setdefault(training, (name, inputs))
    if not found:
        raise UserError(
            f"the encoder in {folder} does not give each block's output (encoder_outputs), so its blocks cannot be told apart."
        )

    def flat(training: bool) -> FlatGraph:
        name, inputs = found.get(training, found.get(None, next(iter(found.values()))))
        return _Flattener(library, ops).flatten(name, objects.concrete_functions[name], inputs, meta.graph_def.versions)

    graph = flat(False)
    return SavedEncoder(
        _listed(objects, children, "variables"),
        _listed(objects, children, "trainable_variables"),
        graph,
        flat(True) if True in found else graph,
        [_bound(objects, node) for node in _listed(objects, children, "regularization_losses")],
    )


def _read_meta_graph(folder: str):
    from tensorflow.core.protobuf import saved_model_pb2

    path = f"{folder}/saved_model.pb"
    if "://" in path:
        import tensorflow as tf

        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
    else:
        with open(path, "rb") as file:
            content = file.read()
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]


def _listed(objects, children: dict[str, int], name: str) -> list[int]:
    """Indices of the objects in a list that hangs on the root, in order."""
    if name not in children:
        return []
    items = objects.nodes[children[name]].children
    return [child.node_id for child in sorted(items, key=lambda child: int(child.local_name))]


def _bound(objects, node: int) -> set[int]:
    """Indices of what a saved function has captured."""
    names = objects.nodes[node].function.concrete_functions
    return {index for name in names for index in objects.concrete_functions[name].bound_inputs}


def _inputs_of(signature) -> tuple[list[str], bool | None]:
    """Names of the tensors in the first argument, in order; and the Python bool among the arguments, `training`."""
    args, kwargs = (value for value in signature.tuple_value.values)
    values = [*args.tuple_value.values, *kwargs.dict_value.fields.values()]
    bools = [value.bool_value for value in values if value.WhichOneof("kind") == "bool_value"]
    others = [value for value in values[1:] if value.WhichOneof("kind") not in {"bool_value", "none_value"}]
    if not values or values[0].WhichOneof("kind") != "dict_value" or others:
        return [], None
    return sorted(values[0].dict_value.fields), bools[0] if bools else None


def _flat_outputs(signature) -> list[tuple[str, bool, list[int | None] | None]]:
    """`(name, whether it is one of a list, shape)` of each output tensor, in the order in which functions return them."""
    found = []
    for name, value in sorted(signature.dict_value.fields.items()):
        listed = value.WhichOneof("kind") in {"list_value", "tuple_value"}
        items = getattr(value, value.WhichOneof("kind")).values if listed else [value]
        found += [(name, listed, _shape(item.tensor_spec_value.shape)) for item in items]
    return found


def _shape(shape) -> list[int | None] | None:
    return None if shape.unknown_rank else [None if size.size < 0 else size.size for size in shape.dim]


class _Flattener:
    """Writes out the calls in a function."""

    def __init__(self, library: dict, ops: dict):
        self.library = library
        self.ops = ops
        self.nodes: dict = {}

    def flatten(self, name: str, signature, inputs: list[str], versions) -> FlatGraph:
        function = self.library[name]
        arguments = [f"{argument.name}:0" for argument in function.signature.input_arg]
        results = self._write_out(function, arguments, prefix="", taken={argument[:-2] for argument in arguments})
        outputs: dict = {}
        shapes: dict = {}
        for (key, listed, shape), tensor in zip(_flat_outputs(signature.output_signature), results, strict=True):
            outputs[key] = [*outputs.get(key, []), tensor] if listed else tensor
            shapes[key] = shape
        captured = arguments[len(inputs) :]
        return FlatGraph(
            self.nodes,
            dict(zip(inputs, arguments, strict=False)),
            dict(zip(captured, signature.bound_inputs, strict=True)),
            outputs,
            shapes,
            list(self.library.values()),
            versions,
        )

    def _write_out(self, function, arguments: list[str], prefix: str, taken: set[str] = frozenset()) -> list[str]:
        """Add the nodes of a function, called with these tensors; returns the tensors it returns."""
        from tensorflow.core.framework import node_def_pb2

        names = [argument.name for argument in function.signature.input_arg]
        tensors = {name: [tensor] for name, tensor in zip(names, arguments, strict=True)}
        for node in _inputs_first(function, set(names)):
            given = [self._tensor(tensors, name) for name in node.input if not name.startswith("^")]
            called = node.attr["f"].func.name if node.op in _CALLS else node.op
            if called in self.library:
                inner = self.library[called]
                results = self._write_out(inner, given, f"{prefix}{node.name}/")
                # `node:output:index` counts within the one output of a call op, or names an output of the function.
                tensors[node.name] = results
                for argument, result in zip(inner.signature.output_arg, results, strict=True):
                    tensors[f"{node.name}:{argument.name}"] = [result]
                tensors[f"{node.name}:output"] = results
                continue
            name = f"{prefix}{node.name}"
            while name in taken or name in self.nodes:
                name += "_"
            copy = node_def_pb2.NodeDef()
            copy.CopyFrom(node)
            copy.name, copy.device = name, ""
            del copy.input[:]
            copy.input.extend(given)
            for attribute in ("_output_shapes", "_class"):
                copy.attr.pop(attribute, None)
            self.nodes[name] = copy
            first = 0
            for output in self._op(node.op).output_arg:
                count = _width(output, node)
                tensors[f"{node.name}:{output.name}"] = [f"{name}:{first + i}" for i in range(count)]
                first += count
            tensors.setdefault(node.name, [f"{name}:0"])
        return [self._tensor(tensors, function.ret[output.name]) for output in function.signature.output_arg]

    def _op(self, name: str):
        """The definition of an op; the file lists those of most of its ops, but not of all."""
        if name not in self.ops:
            import tensorflow as tf

            self.ops[name] = tf.Graph().op_def_for_type(name)
        return self.ops[name]

    @staticmethod
    def _tensor(tensors: dict[str, list[str]], name: str) -> str:
        parts = name.split(":")
        if len(parts) == 3:
            return tensors[f"{parts[0]}:{parts[1]}"][int(parts[2])]
        return tensors[parts[0]][int(parts[1]) if len(parts) == 2 else 0]


def _width(output, node) -> int:
    """How many tensors one output of an op stands for."""
    if output.number_attr:
        return node.attr[output.number_attr].i
    if output.type_list_attr:
        return len(node.attr[output.type_list_attr].list.type)
    return 1


def _inputs_first(function, arguments: set[str]) -> list:
    """The function's nodes, each after those it takes tensors from."""
    nodes = {node.name: node for node in function.node_def}
    needs = {
        name: {source for source in (_node_of(text) for text in node.input if text[0] != "^") if source in nodes}
        for name, node in nodes.items()
    }
    users: dict[str, list[str]] = {}
    for name, sources in needs.items():
        for source in sources:
            users.setdefault(source, []).append(name)
    ready, ordered = [name for name, sources in needs.items() if not sources], []
    while ready:
        name = ready.pop()
        ordered.append(nodes[name])
        for user in users.get(name, ()):
            needs[user].discard(name)
            if not needs[user]:
                ready.append(user)
    return ordered


def _node_of(text: str) -> str:
    return text.split(":", 1)[0]
