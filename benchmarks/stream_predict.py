"""Memory and speed of batch prediction over a large file: `predict_file` with an export.

    TF_USE_LEGACY_KERAS=1 python benchmarks/stream_predict.py --rows 1000000

It is the memory that is measured, and that the order is kept. So the model is a quick one, untrained, of one layer of width 16 with the
tokens of ko-en-small, unless `--run` names another; the speed is that of this model.
Writes a CSV file of so many rows (texts of the sample data, each with its row number, so that order can be checked), answers it, and
checks that the output has the input's rows in the input's order. The memory is the largest resident set of the whole process, that
of TensorFlow and the model included. Results: benchmarks/results/stream_predict.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "stream_predict.json"
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "reviews_en.csv"


def write_rows(path: Path, rows: int) -> None:
    with open(SAMPLE, encoding="utf-8", newline="") as stream:
        texts = [row["text"] for row in csv.DictReader(stream)]
    with open(path, "w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["id", "text"])
        out.writerows((row, texts[row % len(texts)]) for row in range(rows))


def export_tiny(folder: Path) -> Path:
    """A classifier that costs next to nothing, as an export."""
    import keras_hub

    import tl_keras as tlk
    from tl_keras._keras import keras
    from tl_keras.encoders.pair import write_encoder_pair
    from tl_keras.encoders.resolve import resolve_pair
    from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary

    vocabulary = read_pair_vocabulary(Path(resolve_pair("ko-en-small")[0]).parent)
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        len(vocabulary.tokens), num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=32, max_sequence_length=32
    )
    pair = write_encoder_pair(folder / "pair", backbone, vocabulary, seq_length=32)
    model = tlk.text_classifier(tlk.load_encoder(str(pair), seq_length=32), ["no", "yes"], "freeze")
    return tlk.export(model, folder / "export" / "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="run folder or export of a classifier")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--chunk", type=int, default=4096)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()

    from tl_keras.serving.stream import predict_file

    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        data, answers = Path(folder) / "texts.csv", Path(folder) / "answers.csv"
        write_rows(data, options.rows)
        run = options.run or export_tiny(Path(folder))
        started = time.perf_counter()
        result = predict_file(
            run, data, answers, keep=["id"], batch_size=options.batch_size, chunk=options.chunk,
            progress=lambda done, rows: peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        )  # fmt: skip
        seconds = time.perf_counter() - started
        with open(answers, encoding="utf-8", newline="") as stream:
            in_order = all(row["id"] == str(i) for i, row in enumerate(csv.DictReader(stream)))
        size = data.stat().st_size
    results = {
        "model": options.run or "untrained: one layer of width 16, tokens of ko-en-small, at most 32 tokens",
        "rows": result.rows,
        "file_mb": round(size / 2**20, 1),
        "in_order": in_order,
        "rows_per_second": round(result.rows / seconds, 1),
        "peak_mb_first_chunk": round(peaks[0]),
        "peak_mb": round(peaks[-1]),
        "batch_size": options.batch_size,
        "chunk": options.chunk,
    }
    print(json.dumps(results, indent=1))
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
