"""Packs an encoder pair as it travels inside the package: weights in 8 bits, or in 4 where that loses nothing.

    python tools/pack_encoder.py .work/ko-en-small tl_keras/encoders/ko-en-small

The pair's model card and plots go along. `tl_keras.encoders.packed_pair` makes the pair of it again, at first use.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from tl_keras.encoders.packed_pair import is_packed, pack_pair
from tl_keras.encoders.pair_encoder import read_pair_weights
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output, whole_folder

MEASURED = {"layers", "width", "heads", "parameters", "vocabulary_size", "max_length", "pooler"}


def main() -> None:
    """Pack the pair that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()

    try:
        pack(options.pair, options.out)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {size / 1e6:.1f} MB")


def pack(pair: Path, out: Path) -> None:
    """Write the packed encoder, whole or not at all.

    Raises:
        UserError: there is no pair, or `out` is it, holds it, or holds something else than a packed encoder.
    """
    if not (pair / "encoder" / "saved_model.pb").is_file():
        raise UserError(f"{pair} is no encoder pair: it has no SavedModel in encoder/.")
    refuse_input_as_output(out, [pair], "OUT")
    if out.exists() and not (out.is_dir() and (is_packed(out) or not any(out.iterdir()))):
        raise UserError(f"{out} is there and is no packed encoder, so it won't be replaced.")
    weights, activation, mlm = read_pair_weights(pair / "encoder")
    vocabulary = read_pair_vocabulary(pair)
    # What follows from weights and vocabulary is written again when the pair is.
    facts = json.loads((pair / "info.json").read_text("utf-8"))
    info = {name: value for name, value in facts.items() if name not in MEASURED}
    with whole_folder(out, replace=True) as beside:
        pack_pair(beside, weights, activation, vocabulary, mlm, info)
        for name in ("model_card.md", "plots"):
            source = pair / name
            if source.is_dir():
                shutil.copytree(source, beside / name)
            elif source.is_file():
                shutil.copy(source, beside / name)


if __name__ == "__main__":
    main()
