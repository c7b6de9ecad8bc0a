"""The training of test_resume.py in a process of its own, killed at a step if one is named; run by that test."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    from test_resume import train  # beside this file; pytest, which collects it too, would not find it

    from tl_keras import load_encoder
    from tl_keras.data import Examples

    pair, folder, *place = sys.argv[1:]
    given = json.loads((Path(folder) / "given.json").read_text("utf-8"))
    stop = (*map(int, place), lambda: os.kill(os.getpid(), signal.SIGKILL)) if place else None
    reviews = Examples.from_lists(given["texts"], given["labels"])
    weights, _, _ = train(load_encoder(pair, seq_length=32), reviews, given["vocabulary"], f"{folder}/backup", stop)
    np.savez(f"{folder}/weights.npz", *weights)
