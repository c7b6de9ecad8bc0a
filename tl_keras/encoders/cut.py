"""The first blocks of an encoder as an encoder of its own: what is above them neither runs nor is kept.

Reading a lower block's output from the loaded function would save almost nothing: the function computes all its outputs, and its
gradient runs through all of them. So the graph is taken from the file with its calls written out, reduced to what is wanted, and
imported into the graph that is being traced.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow as tf

from tl_keras.encoders.blocks import above, first_blocks, group, read_cached
from tl_keras.encoders.layer_common import load_options_here, with_text_ops
from tl_keras.encoders.saved_graph import FlatGraph
from tl_keras.errors import UserError
from tl_keras.random_operations import global_seed, seed_random_operations
from tl_keras.saved_models import load_saved_model


class CutEncoder:
    """A callable like a loaded encoder, with fewer blocks: `sequence_output` and `pooled_output` come from the last one left.

    Args:
        variables: all that it has.
        trainable_variables: those that may learn.
        regularization_losses: callables without arguments.
        by_index: the variable of each captured argument's index in the SavedModel.
        graph: for `training=False`.
        training_graph: for `training=True`.
    """

    def __init__(
        self,
        variables: list[tf.Variable],
        trainable_variables: list[tf.Variable],
        regularization_losses: list,
        by_index: dict[int, tf.Variable],
        graph: FlatGraph,
        training_graph: FlatGraph,
    ):
        self.variables = variables
        self.trainable_variables = trainable_variables
        self.regularization_losses = regularization_losses
        self._by_index = by_index
        training_definition, seed = graph_def(training_graph), global_seed()
        if seed is not None:
            seed_random_operations(training_definition.node, seed)
        self._graphs = {False: (graph, graph_def(graph)), True: (training_graph, training_definition)}
        self._functions: dict[bool, Any] = {}

    def __call__(self, inputs: dict[str, tf.Tensor], training: bool = False) -> dict[str, Any]:
        """Run the blocks.

        Args:
            inputs: int tensors `[batch, length]` by name.
            training: whether dropout is on.

        Returns:
            The outputs of the encoder, by name.
        """
        training = bool(training)
        inputs = {name: tf.cast(inputs[name], tf.int32) for name in self._graphs[training][0].inputs}
        if not tf.executing_eagerly():
            return self._run(inputs, training)
        if training not in self._functions:
            specs = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs}
            self._functions[training] = tf.function(
                lambda given: self._run(given, training), input_signature=[specs], autograph=False
            )
        return self._functions[training](inputs)

    def _run(self, inputs: dict[str, tf.Tensor], training: bool) -> dict[str, Any]:
        graph, definition = self._graphs[training]
        used = {tensor for node in definition.node for tensor in node.input}
        fed = {tensor: inputs[name] for name, tensor in graph.inputs.items() if tensor in used}
        for tensor, index in graph.captures.items():
            variable = self._by_index[index]
            variable.read_value()  # so that tapes and functions learn that it is used: imported nodes tell nobody
            fed[tensor] = tf.convert_to_tensor(_handle(variable))
        names = list(graph.outputs)
        flat = tf.nest.flatten([graph.outputs[name] for name in names])
        found = iter(tf.graph_util.import_graph_def(definition, input_map=fed, return_elements=flat, name="encoder"))
        outputs = {}
        for name in names:
            listed = isinstance(graph.outputs[name], list)
            tensors = [next(found) for _ in (graph.outputs[name] if listed else [0])]
            for tensor in tensors:
                tensor.set_shape(graph.shapes[name])
            outputs[name] = tensors if listed else tensors[0]
        return outputs


def cut_encoder(folder: str | os.PathLike, layers: int) -> CutEncoder:
    """Load the first blocks of an encoder, in the active `tf.distribute` scope.

    Args:
        folder: its SavedModel.
        layers: how many blocks to keep.

    Raises:
        UserError: it has fewer, does not show its blocks, or is built so that it cannot be cut.
    """
    folder = os.fspath(folder)
    saved = read_cached(folder)
    parts = group(saved)
    first_blocks(parts, layers)  # refuses what cannot be
    dropped = {
        saved.trainable_variables[i]
        for part in parts.parts
        if part.blocks and min(part.blocks) >= layers
        for i in part.indices
    }
    graph = keep_blocks(saved.graph, layers, dropped)
    training_graph = (
        graph if saved.training_graph is saved.graph else keep_blocks(saved.training_graph, layers, dropped)
    )
    module = load_saved_model(
        folder, lambda: with_text_ops(lambda: tf.saved_model.load(folder, options=load_options_here()))
    )
    by_index = dict(zip(saved.variables, module.variables, strict=True))
    by_index.update(zip(saved.trainable_variables, module.trainable_variables, strict=True))
    unknown = {*graph.captures.values(), *training_graph.captures.values()} - set(by_index)
    if unknown:
        raise UserError(
            f"the encoder in {folder} holds other things than variables, so it cannot be cut; leave layers out."
        )
    losses = zip(getattr(module, "regularization_losses", []), saved.losses, strict=False)
    return CutEncoder(
        [by_index[index] for index in saved.variables if index not in dropped],
        [by_index[index] for index in saved.trainable_variables if index not in dropped],
        [loss for loss, read in losses if not read & dropped],
        {index: variable for index, variable in by_index.items() if index not in dropped},
        graph,
        training_graph,
    )


def keep_blocks(graph: FlatGraph, layers: int, dropped: set[int]) -> FlatGraph:
    """The graph without the blocks from number `layers` on.

    Args:
        graph: of the whole encoder.
        layers: how many blocks stay.
        dropped: indices of the variables that must not be in it any more.

    Raises:
        UserError: some of them still are.
    """
    blocks = graph.outputs["encoder_outputs"]
    last, new_last = graph.source(blocks[-1]), graph.source(blocks[layers - 1])
    nodes = {}
    for name, node in graph.nodes.items():
        if last in node.input:
            # What took the last block's output now takes that of the last block left.
            copy = type(node)()
            copy.CopyFrom(node)
            copy.input[:] = [new_last if tensor == last else tensor for tensor in node.input]
            node = copy
        nodes[name] = node
    outputs = {
        name: new_last if tensor == last else tensor
        for name, tensor in graph.outputs.items()
        if name != "encoder_outputs"
    }
    outputs["encoder_outputs"] = blocks[:layers]
    rewired = dataclasses.replace(graph, nodes=nodes, outputs=outputs)
    kept = above(rewired, [tensor.rsplit(":", 1)[0] for tensor in tf.nest.flatten(outputs)], ())
    captures = {tensor: index for tensor, index in graph.captures.items() if tensor.rsplit(":", 1)[0] in kept}
    if dropped & set(captures.values()):
        raise UserError(
            "this encoder's outputs need more than its last block gives, so it cannot be cut; leave layers out."
        )
    nodes = {name: node for name, node in nodes.items() if name in kept}
    return dataclasses.replace(rewired, nodes=nodes, captures=captures, library=_needed(nodes.values(), graph.library))


def graph_def(graph: FlatGraph) -> tf.compat.v1.GraphDef:
    """The nodes as a `GraphDef`; what the arguments stand for is missing, and given when it is imported."""
    definition = tf.compat.v1.GraphDef()
    definition.node.extend(graph.nodes.values())
    definition.versions.CopyFrom(graph.versions)
    definition.library.function.extend(graph.library)
    return definition


def _needed(nodes, library: list) -> list:
    """The functions that loops and branches among the nodes refer to."""
    by_name = {function.signature.name: function for function in library}
    found: dict = {}
    left = list(nodes)
    while left:
        node = left.pop()
        for attribute in node.attr.values():
            for reference in [attribute.func, *attribute.list.func]:
                function = by_name.get(reference.name)
                if function is not None and reference.name not in found:
                    found[reference.name] = function
                    left += list(function.node_def)
    return list(found.values())


def _handle(variable: tf.Variable) -> tf.Tensor:
    try:
        return variable.handle
    except ValueError:
        # A mirrored variable, while no replica is running, as when a model is being built.
        return variable.values[0].handle
