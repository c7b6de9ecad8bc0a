"""One worker of several: trains a classifier, saves and exports with the others. Run by test_workers.py, in Keras 2.

`python workers_run.py PAIR FOLDER STRATEGY TRANSFER [KILL_EPOCH KILL_STEP]`: the last worker kills itself there, the first time it comes by.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path


def train(pair, folder, strategy, transfer, kill_at=()) -> dict:
    """Train, evaluate and export; gives the history, the figures, and the number of replicas."""
    from builders import build, texts  # beside this file

    from tl_keras import export, load_encoder
    from tl_keras._keras import keras
    from tl_keras.data import Examples
    from tl_keras.training.checkpoints import Checkpoints
    from tl_keras.training.resume import resumable_fit
    from tl_keras.training.strategy import is_chief

    class Kill(keras.callbacks.Callback):
        """Ends this process at a step, once."""

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            mark = folder / "killed"
            if [str(self.epoch), str(batch)] == list(kill_at) and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    keras.utils.set_random_seed(2)
    encoder = load_encoder(str(pair), seq_length=16)
    with strategy.scope():
        model, batches = build("text_classifier", encoder, transfer, rows=60, batch_size=12)
    checkpoints = Checkpoints(folder / "backup", 2)
    history = resumable_fit(model, batches, epochs=3, checkpoints=checkpoints, callbacks=[Kill()], verbose=0)
    given = texts(31, seed=7)
    examples = Examples.from_lists(given, ["p" if "bad" in text else "n" for text in given])
    # The last batch holds 7 rows, which do not divide.
    evaluated = model.evaluate(encoder.batches(examples, batch_size=12), verbose=0, return_dict=True)
    # All export together; the first one's copy is kept.
    beside = Path(tempfile.mkdtemp())
    export(model, (folder if is_chief(strategy) else beside) / "export" / "1")
    shutil.rmtree(beside)
    return {"history": history.history, "evaluated": evaluated, "replicas": strategy.num_replicas_in_sync}


if __name__ == "__main__":
    from tl_keras.training.cluster import cluster_from_environment
    from tl_keras.training.strategy import get_strategy

    pair, folder, name, transfer, *place = sys.argv[1:]
    # Before anything else, so that the workers find each other.
    strategy = get_strategy(name)
    cluster = cluster_from_environment()
    last = cluster is not None and cluster.index == cluster.workers - 1
    print(json.dumps(train(pair, Path(folder), strategy, transfer, place if last else ())))
