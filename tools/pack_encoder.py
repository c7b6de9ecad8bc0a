"""Packs an encoder pair as it travels inside the package: weights in 8 bits, or in 4 where that loses nothing.

    python tools/pack_encoder.py .work/ko-en-small tl_keras/encoders/ko-en-small

The pair's model card and plots go along. `tl_keras.encoders.packed_pair` makes the pair of it again, at first use.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from tl_keras.encoders.packed_pair import pack_pair
from tl_keras.encoders.pair_encoder import read_pair_weights
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary

MEASURED = {"layers", "width", "heads", "parameters", "vocabulary_size", "max_length", "pooler"}


def main() -> None:
    """Pack the pair that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()

    weights, activation, mlm = read_pair_weights(options.pair / "encoder")
    vocabulary = read_pair_vocabulary(options.pair)
    # What follows from weights and vocabulary is written again when the pair is.
    facts = json.loads((options.pair / "info.json").read_text("utf-8"))
    info = {name: value for name, value in facts.items() if name not in MEASURED}
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    pack_pair(options.out, weights, activation, vocabulary, mlm, info)
    for name in ("model_card.md", "plots"):
        source = options.pair / name
        if source.is_dir():
            shutil.copytree(source, options.out / name)
        elif source.is_file():
            shutil.copy(source, options.out / name)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
