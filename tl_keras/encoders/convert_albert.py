"""ALBERT's network as a BERT's: its few blocks, written out as often as they are used.

An encoder pair holds each block by itself, so that the blocks can be cut and fine-tuned one by one. It is larger than the
checkpoint by as much, and gives the same outputs.

Source: Lan et al. 2020, https://arxiv.org/abs/1909.11942; the names are those of Hugging Face's checkpoints.
"""

from __future__ import annotations

import numpy as np

from tl_keras.errors import UserError

_PARTS = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.dense": "attention.output.dense",
    "attention.LayerNorm": "attention.output.LayerNorm",
    "ffn": "intermediate.dense",
    "ffn_output": "output.dense",
    "full_layer_layer_norm": "output.LayerNorm",
}


def albert_as_bert(config: dict, tensors: dict[str, np.ndarray]) -> tuple[dict, dict[str, np.ndarray]]:
    """A checkpoint's settings and tensors under the names that BERT's (and, for the narrow embeddings, ELECTRA's) have.

    Args:
        config: of `config.json`.
        tensors: by name, without `albert.` before it.

    Returns:
        `config` with the number of blocks that are run through, and the tensors, shared blocks as the same arrays.

    Raises:
        KeyError: a tensor is missing.
        UserError: the groups don't divide the layers.
    """
    layers, groups = config["num_hidden_layers"], config.get("num_hidden_groups", 1)
    inner = config.get("inner_group_num", 1)
    if groups < 1 or layers % groups:
        raise UserError(f"config.json has {layers} layers in {groups} groups, which doesn't come out even.")
    found = {name: array for name, array in tensors.items() if not name.startswith(("encoder.", "pooler."))}
    for part in ("weight", "bias"):
        found[f"embeddings_project.{part}"] = tensors[f"encoder.embedding_hidden_mapping_in.{part}"]
        if f"pooler.{part}" in tensors:
            found[f"pooler.dense.{part}"] = tensors[f"pooler.{part}"]
        for block in range(layers * inner):
            group = block // inner // (layers // groups)
            shared = f"encoder.albert_layer_groups.{group}.albert_layers.{block % inner}"
            for theirs, berts in _PARTS.items():
                found[f"encoder.layer.{block}.{berts}.{part}"] = tensors[f"{shared}.{theirs}.{part}"]
    return config | {"num_hidden_layers": layers * inner}, found
