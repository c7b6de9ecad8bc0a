"""Questions to paragraphs: BM25, an encoder as it is, and one trained on other paragraphs; and how long a query takes.

    python benchmarks/retrieval.py --data xquad_en/train.json --encoder ENCODER_PAIR --modes bm25 untrained
    python benchmarks/retrieval.py --data korquad/train.json --encoder ENCODER_PAIR --modes bm25 untrained trained
    python benchmarks/retrieval.py --modes speed

Files are in the format of SQuAD. `bm25` and `untrained` ask every question of the file and search all of its paragraphs. `trained`
learns from four paragraphs in five with their questions, asks the questions of the fifth (from 5 splits, `--folds` of them) and
searches all; `bm25-folds` and `untrained-folds` ask just the same questions, to compare with. With `--whiten` vectors begin without the
direction that all paragraphs have in common. With `--lexical-weight 0.5` half of the score is shared words: by BM25 beside the cosine for
`untrained`, as in `tl-keras index`; among the vector's numbers for `trained`. `--half 0` asks only about every second paragraph (of a fixed
random order), by which settings were chosen; `--half 1` about the others. Needs `bm25s` for the rows of BM25.
Raw results go to benchmarks/results/retrieval.json.
"""

from __future__ import annotations

import argparse
import logging
import re
import time
from pathlib import Path

import numpy as np
from rows import add_row

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME, keras
from tl_keras.data.pairs import RetrievalPairs, read_retrieval_pairs
from tl_keras.evaluation.similarity import DEPTH, RetrievalReport, nearest, retrieval_report
from tl_keras.models.pair_builders import bi_encoder, sentence_encoder
from tl_keras.serving.evaluate import evaluate_retrieval
from tl_keras.serving.nearest_search import ApproximateIndex

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
FOLDS = 5


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters inside words: Korean particles stick to their nouns, so whole words seldom match."""
    return [word[i : i + 2] for word in words(text) for i in range(max(len(word) - 1, 1))]


def bm25(pairs: RetrievalPairs, among: list[str], tokens) -> RetrievalReport:
    import bm25s

    questions, relevant = pairs.questions()
    documents = list(dict.fromkeys([*pairs.documents, *among]))
    search = bm25s.BM25()
    search.index([tokens(text) for text in documents], show_progress=False)
    found, _ = search.retrieve([tokens(text) for text in questions], k=min(DEPTH, len(documents)), show_progress=False)
    return retrieval_report(found.tolist(), relevant, len(documents))


def folds(pairs: RetrievalPairs, count: int):
    """Training pairs and pairs that ask about paragraphs that are in none of them."""
    documents = np.random.default_rng(0).permutation(len(pairs.documents))
    for fold in range(count):
        held = np.isin(pairs.document_ids, documents[fold::FOLDS])
        yield fold, pairs.take(np.flatnonzero(~held)), pairs.take(np.flatnonzero(held))


def half_of(pairs: RetrievalPairs, half: int) -> RetrievalPairs:
    """The questions about every second paragraph."""
    documents = np.random.default_rng(0).permutation(len(pairs.documents))
    return pairs.take(np.flatnonzero(np.isin(pairs.document_ids, documents[half::2])))


def search(model, pairs: RetrievalPairs, among: list[str], lexical_weight: float) -> RetrievalReport:
    """As `tl-keras search`, with shared words counted exactly."""
    questions, relevant = pairs.questions()
    documents = list(dict.fromkeys([*pairs.documents, *among]))
    index = tlk.TextIndex.build(model, documents, lexical_weight=lexical_weight)
    return retrieval_report(index.find(list(questions), DEPTH)[0].tolist(), relevant, len(documents))


def build(encoder, transfer: str, paragraphs: list[str], lexical_weight: float, options) -> keras.Model:
    return sentence_encoder(
        encoder,
        transfer,
        whiten_texts=paragraphs if options.whiten else (),
        lexical_weight=lexical_weight,
        lexical_texts=paragraphs,
    )


def train(encoder, train: RetrievalPairs, options) -> keras.Model:
    keras.utils.set_random_seed(options.seed)
    model = build(encoder, "fine-tune", train.documents.tolist(), options.lexical_weight, options)
    towers = bi_encoder(model, "in-batch", learning_rate=options.learning_rate)
    batches = encoder.pair_batches(train, training=True, batch_size=options.batch_size, seed=options.seed)
    towers.fit(batches, epochs=options.epochs, verbose=2)
    return model


def runs(options):
    """Each mode's rows: name of the method, fold, report."""
    pairs = read_retrieval_pairs(options.data)
    if options.limit:
        pairs = pairs.sample(options.limit)
    if options.half is not None:
        pairs = half_of(pairs, options.half)
    paragraphs = read_retrieval_pairs(options.data).documents.tolist()
    encoder = tlk.load_encoder(options.encoder, options.seq_length) if options.encoder else None
    untrained = None
    for mode in options.modes:
        parts = (
            list(folds(pairs, options.folds)) if mode.endswith("folds") or mode == "trained" else [(None, None, pairs)]
        )
        for fold, learn, ask in parts:
            started = time.perf_counter()
            if mode.startswith("bm25"):
                for tokens in (words, bigrams):
                    yield f"bm25, {tokens.__name__}", fold, bm25(ask, paragraphs, tokens), time.perf_counter() - started
                continue
            if mode == "trained":
                model = train(encoder, learn, options)
            else:
                model = untrained = untrained or build(encoder, "freeze", paragraphs, 0.0, options)
            if mode == "trained" or not options.lexical_weight:
                report = evaluate_retrieval(model, ask, among=paragraphs)
            else:
                report = search(model, ask, paragraphs, options.lexical_weight)
            yield mode.split("-")[0], fold, report, time.perf_counter() - started


def speed(options) -> list[dict]:
    """Milliseconds a query, one at a time, over random vectors of length 1."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(options.texts, options.width)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # Near to a text of the collection, as queries are; between random vectors there are no neighbours to find.
    queries = vectors[rng.integers(options.texts, size=50)] + 0.03 * rng.normal(size=(50, options.width)).astype(
        "float32"
    )
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    searches = {"exact": lambda query: nearest(vectors, query, 10)[0]}
    if options.approximate:
        started = time.perf_counter()
        graph = ApproximateIndex.build(vectors)
        print(f"approximate index built in {time.perf_counter() - started:.0f} s", flush=True)
        searches["approximate"] = lambda query: graph.nearest(query, 10)
    rows = []
    for name, search in searches.items():
        search(queries[:1])
        times = []
        for query in queries:
            started = time.perf_counter()
            search(query[np.newaxis])
            times.append(1000 * (time.perf_counter() - started))
        rows.append(
            {
                "data": f"{options.texts} x {options.width} random",
                "method": f"{name} query",
                "milliseconds_median": round(float(np.median(times)), 2),
                "milliseconds_worst": round(max(times), 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = ["bm25", "untrained", "trained", "bm25-folds", "untrained-folds", "speed"]
    parser.add_argument("--modes", nargs="+", choices=modes, default=["bm25", "untrained"])
    parser.add_argument("--data")
    parser.add_argument("--encoder")
    parser.add_argument("--seq-length", type=int, default=256)
    parser.add_argument("--folds", type=int, default=1, help=f"how many of the {FOLDS} splits to train on")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whiten", action="store_true")
    parser.add_argument("--lexical-weight", type=float, default=0.0)
    parser.add_argument("--half", type=int, choices=[0, 1], help="only the questions about half of the paragraphs")
    parser.add_argument("--limit", type=int, help="so many questions only, to try the script")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--approximate", action="store_true", help="time the approximate index too")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    same = (
        "data",
        "method",
        "encoder",
        "keras",
        "whiten",
        "lexical_weight",
        "fold",
        "seq_length",
        "epochs",
        "batch_size",
        "seed",
        "limit",
        "half",
        "lexical",
    )
    if "speed" in options.modes:
        options.modes.remove("speed")
        for row in speed(options):
            add_row(options.results, row, same)
    if options.modes:
        for method, fold, report, seconds in runs(options):
            changed = {name: getattr(options, name) for name in ("whiten", "lexical_weight") if getattr(options, name)}
            if "lexical_weight" in changed and method == "untrained":
                changed["lexical"] = "BM25"
            of_encoder = (
                {}
                if method.startswith("bm25")
                else {"encoder": Path(options.encoder).name, "keras": KERAS_NAME, **changed}
            )
            settings = {name: getattr(options, name) for name in ("seq_length", "epochs", "batch_size", "seed")}
            row = {
                "data": Path(options.data).parent.name,
                "method": method,
                **of_encoder,
                **({"fold": fold} if fold is not None else {}),
                **(settings if method == "trained" else {"seq_length": options.seq_length} if of_encoder else {}),
                **({"limit": options.limit} if options.limit else {}),
                **({"half": options.half} if options.half is not None else {}),
                **{k: round(v, 4) if isinstance(v, float) else v for k, v in report.to_dict().items()},
                "seconds": round(seconds, 1),
            }
            add_row(options.results, row, same)


if __name__ == "__main__":
    main()
