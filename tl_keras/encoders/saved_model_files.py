"""What a folder holds, told from its files without loading it: a whole SavedModel, a damaged one, or something else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorflow.core.protobuf import saved_model_pb2

_PROTO = "saved_model.pb"
_TEXT_PROTO = "saved_model.pbtxt"
_VARIABLE_OPS = frozenset({"Variable", "VariableV2", "VarHandleOp"})


def is_saved_model(folder: Path) -> bool:
    """Whether the folder has a SavedModel's main file, whole or not."""
    return (folder / _PROTO).is_file() or (folder / _TEXT_PROTO).is_file()


def saved_models_below(folder: Path, depth: int = 2) -> list[Path]:
    """Folders with a SavedModel at most `depth` levels below `folder`, sorted."""
    levels = ("/".join("*" * n) for n in range(1, depth + 1))
    return sorted({path.parent for level in levels for path in folder.glob(f"{level}/{_PROTO}")})


def damage(folder: Path) -> str | None:
    """What is missing or broken in a SavedModel, in a few words; None for a whole one.

    Looks at the main file, the assets it names, and whether the variables' files are as long as their shapes ask for.

    Args:
        folder: that holds, or should hold, a SavedModel.
    """
    if not is_saved_model(folder):
        return f"{_PROTO} is missing"
    if not (folder / _PROTO).is_file():
        return None  # the text form, which nobody publishes: left to TensorFlow
    model = _read(folder)
    if model is None or not model.meta_graphs:
        return f"{_PROTO} is cut off or not a SavedModel"
    for graph in model.meta_graphs:
        for asset in graph.asset_file_def:
            if not (folder / "assets" / asset.filename).is_file():
                return f"assets/{asset.filename} is missing"
    return _variables_damage(folder) if _has_variables(model) else None


def takes_strings(folder: Path) -> bool:
    """Whether the SavedModel is called with strings: a text embedding or a preprocessing module."""
    import tensorflow as tf

    model = _read(folder)
    if model is None:
        return False
    dtypes = set()
    for graph in model.meta_graphs:
        for function in _call_functions(graph):
            _tensor_dtypes(graph.object_graph_def.concrete_functions[function].canonicalized_input_signature, dtypes)
        if not dtypes:  # no `__call__`: TF1 formats, or signatures only
            for name, signature in graph.signature_def.items():
                if name != "__saved_model_init_op":
                    dtypes.update(tensor.dtype for tensor in signature.inputs.values())
    return dtypes == {tf.string.as_datatype_enum}


def is_preprocessor(folder: Path) -> bool:
    """Whether the SavedModel is the preprocessing half of a pair: it has `tokenize` or `bert_pack_inputs`."""
    model = _read(folder)
    if model is None:
        return False
    children = {child.local_name for graph in model.meta_graphs for child in _root_children(graph)}
    return bool(children & {"tokenize", "bert_pack_inputs"})


def other_format(path: Path) -> str | None:
    """What a file or folder that is no SavedModel is instead, and what to do with it; None if that cannot be told."""
    if path.is_file():
        return _file_format(path)
    names = {entry.name for entry in path.iterdir()}
    convert = f"convert it first: tl-keras convert {path} --out DIR"
    if "config.json" in names and names & {
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "tf_model.h5",
        "flax_model.msgpack",
    }:
        return f"a Hugging Face checkpoint; {convert}"
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return f"a KerasHub preset; {convert}"
    if "checkpoint" in names or any(name.endswith((".ckpt", ".ckpt.index", ".ckpt.meta")) for name in names):
        return _CHECKPOINT
    return None


_CHECKPOINT = (
    "a TensorFlow checkpoint, which holds weights without the model; take the same model as a SavedModel from TF Hub, "
    "or as a Hugging Face checkpoint and run tl-keras convert on it"
)


def _file_format(path: Path) -> str | None:
    name = path.name
    if name.endswith((".h5", ".hdf5", ".keras")):
        return (
            "a Keras file; load it with keras and write a SavedModel with tf.saved_model.save, or run tl-keras convert "
            "on the Hugging Face or KerasHub checkpoint it came from"
        )
    if ".ckpt" in name or name.endswith((".index", ".meta")):
        return _CHECKPOINT
    if name.endswith((".safetensors", ".bin", ".pt", ".pth")):
        return f"weights in PyTorch's format; run tl-keras convert on the folder it lies in: {path.parent}"
    if name == _PROTO:
        return f"the main file of a SavedModel; give its folder: {path.parent}"
    if name.endswith(".zip"):
        return "a zip archive; unpack it and give the folder"
    return None


def _read(folder: Path) -> saved_model_pb2.SavedModel | None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        return saved_model_pb2.SavedModel.FromString((folder / _PROTO).read_bytes())
    except (DecodeError, OSError):
        return None


def _root_children(graph):
    nodes = graph.object_graph_def.nodes
    return nodes[0].children if nodes else ()


def _call_functions(graph) -> list[str]:
    """Names of the concrete functions behind the root object's `__call__`."""
    nodes = graph.object_graph_def.nodes
    return [
        name
        for child in _root_children(graph)
        if child.local_name == "__call__"
        for name in nodes[child.node_id].function.concrete_functions
    ]


def _tensor_dtypes(value, found: set[int]) -> None:
    """Collect the dtypes of all tensor specs in a StructuredValue (Python arguments such as `training` have none)."""
    kind = value.WhichOneof("kind")
    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        found.add(getattr(value, kind).dtype)
    elif kind in ("list_value", "tuple_value"):
        for item in getattr(value, kind).values:
            _tensor_dtypes(item, found)
    elif kind == "dict_value":
        for item in value.dict_value.fields.values():
            _tensor_dtypes(item, found)
    elif kind == "named_tuple_value":
        for pair in value.named_tuple_value.values:
            _tensor_dtypes(pair.value, found)


def _has_variables(model: saved_model_pb2.SavedModel) -> bool:
    # TF2 always writes a checkpoint, for the object graph; TF1 only if there are variables.
    return any(
        graph.HasField("object_graph_def") or any(node.op in _VARIABLE_OPS for node in graph.graph_def.node)
        for graph in model.meta_graphs
    )


def _variables_damage(folder: Path) -> str | None:
    import tensorflow as tf

    prefix = folder / "variables" / "variables"
    if not prefix.with_suffix(".index").is_file():
        return "variables/variables.index is missing"
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        dtypes, needed = reader.get_variable_to_dtype_map(), 0
        for name, shape in reader.get_variable_to_shape_map().items():
            if dtypes[name] == tf.string:  # the object graph, a few kB
                needed += len(reader.get_tensor(name)) if not shape else 0
            else:
                needed += math.prod(shape) * dtypes[name].size
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError):
        return "the variables cannot be read"
    there = sum(part.stat().st_size for part in prefix.parent.glob("variables.data-*"))
    if there < needed:
        return f"variables/variables.data has {there:,} bytes of at least {needed:,}"
    return None
