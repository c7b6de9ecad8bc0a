"""Which worker this process is: what `TF_CONFIG` or Slurm say, known without starting TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

from tl_keras.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("auto", "one-device", "mirrored", "multi-worker", "tpu", "parameter-server")
"""What `get_strategy` knows by name; here, where no TensorFlow is needed to check a name."""


def refuse_under_servers(checkpoints: bool, gradual: bool) -> None:
    """What needs all workers to be at the same step, which workers of a parameter server never are.

    Args:
        checkpoints: whether the training is to go on where it was interrupted.
        gradual: whether parts of the model are to be unfrozen at a step.

    Raises:
        UserError: one of them is asked for.
    """
    if checkpoints:
        raise UserError(
            "under a parameter server each worker steps at its own pace, so a training cannot go on step by step: leave --resume "
            "(checkpoints) out, or take the strategy multi-worker."
        )
    if gradual:
        raise UserError(
            "under a parameter server there is no common step at which a part could be unfrozen: gradual unfreezing is not possible."
        )


@dataclasses.dataclass(frozen=True)
class Cluster:
    """This process among those that train together.

    Args:
        workers: how many train.
        index: this one's number among them, from 0.
        slurm: whether Slurm said so, and not `TF_CONFIG`.
        servers: how many parameter servers there are beside them.
    """

    workers: int
    index: int
    slurm: bool = False
    servers: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes the files for all."""
        return self.index == 0

    def resolver(self) -> tf.distribute.cluster_resolver.ClusterResolver:
        """What tells TensorFlow the addresses."""
        import tensorflow as tf

        resolvers = tf.distribute.cluster_resolver
        if not self.slurm:
            return resolvers.TFConfigClusterResolver()
        if tf.config.list_physical_devices("GPU"):
            return resolvers.SlurmClusterResolver()
        # It counts on GPUs, one task each at least; without them it is only asked for the addresses.
        slurm = resolvers.SlurmClusterResolver(gpus_per_node=self.workers, gpus_per_task=1, auto_set_gpu=False)
        spec = slurm.cluster_spec()
        return resolvers.SimpleClusterResolver(
            spec, task_type=slurm.task_type, task_id=slurm.task_id, rpc_layer=slurm.rpc_layer
        )


def cluster_from_environment() -> Cluster | None:
    """The cluster that `TF_CONFIG` describes, else the tasks of a Slurm step; None if this process works alone.

    Raises:
        UserError: `TF_CONFIG` cannot be read.

    Example:
        >>> os.environ["TF_CONFIG"] = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
        >>> cluster = cluster_from_environment()
        >>> cluster.workers, cluster.index, cluster.is_chief
        (2, 1, False)
        >>> del os.environ["TF_CONFIG"]
    """
    raw = os.environ.get("TF_CONFIG", "")
    if raw.strip():
        try:
            config = json.loads(raw)
            members = config.get("cluster", {})
            if not members:
                return None
            kind, index = config["task"]["type"], int(config["task"]["index"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                'TF_CONFIG cannot be read; it looks like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
                '"index": 0}}.'
            ) from error
        chiefs = len(members.get("chief", members.get("master", ())))
        number = index + (chiefs if kind == "worker" else 0)
        return Cluster(chiefs + len(members.get("worker", ())), number, servers=len(members.get("ps", ())))
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1") or 1)
    if tasks > 1 and "SLURM_PROCID" in os.environ:
        return Cluster(tasks, int(os.environ["SLURM_PROCID"]), slurm=True)
    return None
