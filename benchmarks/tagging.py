"""Named entities: a pre-trained encoder against the same network from random weights.

    python benchmarks/tagging.py --data SHARED_DATA --task klue_ner --encoder ko-en-small
    python benchmarks/tagging.py --data SHARED_DATA --task wnut17 --encoder .work/minilm --epochs 5

`SHARED_DATA` holds the folders klue_ner and wnut17. klue_ner has one file: 500 of its 4,000 sentences, drawn with seed 0, are kept out
of training and scored. wnut17 is trained on train.conll and scored on dev.conll. Scores are entity F1 in whole words, the model is that
of the last epoch, and nothing is chosen on the rows that are scored: with `--choose` a tenth of the training rows is scored instead, to
find settings, and nothing is written.

Raw results: benchmarks/results/tagging.json, a row for each way, encoder and seed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rows import add_row
from transfer import draw_weights_anew

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME, keras
from tl_keras.encoders.transfer_plan import Transfer

RESULTS = Path(__file__).parent / "results" / "tagging.json"
WAYS = ("fine-tune", "freeze", "scratch")


def read(task: str, folder: Path):
    """Sentences to train on, and those to score."""
    train = tlk.read_tagged(folder / "train.conll")
    return train.split(0.125, seed=0) if task == "klue_ner" else (train, tlk.read_tagged(folder / "dev.conll"))


def train_and_score(way: str, train, test, options) -> dict:
    encoder = tlk.load_encoder(options.encoder, options.seq_length)
    rates = {} if options.embedding_rate == 1 else {"embeddings": options.embedding_rate}
    transfer = (
        Transfer("freeze")
        if way == "freeze"
        else Transfer("fine-tune", layer_decay=options.layer_decay, lr_multipliers={} if way == "scratch" else rates)
    )
    model = tlk.token_classifier(
        encoder, train.tag_set, transfer, dropout=options.dropout, learning_rate=options.learning_rate
    )
    if way == "scratch":
        draw_weights_anew(model, options.seed)
    batches = encoder.tagging_batches(train, training=True, batch_size=options.batch_size, seed=options.seed)
    model.fit(batches, epochs=options.epochs, verbose=2)
    report = tlk.evaluate(model, test)
    scores = {name: round(100 * getattr(report, name), 2) for name in ("f1", "precision", "recall")}
    return {**scores, "entities": report.entities}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", choices=["klue_ner", "wnut17"], required=True)
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["fine-tune", "scratch"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, help="default: what suits the encoder")
    parser.add_argument("--layer-decay", type=float, default=1.0)
    parser.add_argument(
        "--embedding-rate", type=float, default=1.0, help="fraction of the learning rate for pre-trained embeddings"
    )
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seq-length", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--limit", type=int, help="train on so many sentences only")
    parser.add_argument("--choose", action="store_true", help="score a tenth of the training rows, and write nothing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()

    train, test = read(options.task, options.data / options.task)
    if options.choose:
        train, test = train.split(0.1, seed=1)
    if options.limit:
        train = train.sample(options.limit, seed=0)
    for seed in options.seeds:
        options.seed = seed
        for way in options.ways:
            keras.utils.set_random_seed(options.seed)
            started = time.perf_counter()
            scores = train_and_score(way, train, test, options)
            names = (
                "epochs",
                "batch_size",
                "learning_rate",
                "layer_decay",
                "embedding_rate",
                "dropout",
                "seq_length",
                "seed",
            )
            row = {
                "task": options.task,
                "way": way,
                "encoder": Path(options.encoder).name,
                "train_sentences": len(train),
                "test_sentences": len(test),
                **{name: getattr(options, name) for name in names},
                **scores,
                "seconds": round(time.perf_counter() - started, 1),
                "keras": KERAS_NAME,
            }
            if options.choose:
                print(row, flush=True)
            else:
                add_row(options.results, row, ("task", "way", "encoder", "train_sentences", *names, "keras"))


if __name__ == "__main__":
    main()
