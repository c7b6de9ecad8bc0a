"""A small GPT on Korean film reviews: fine-tuned on positive and on negative ones, does it write what it was taught, and how fast?

    tl-keras pretrain gpt --corpus DATA_FOLDER/nsmc/unlabelled.txt --minutes 45 --layers 3 --width 192 --vocab-size 5000 \
        --batch-tokens 1024 --init-embeddings skip-gram --heldout-fraction 0.002 --out .work/gpt
    TF_USE_LEGACY_KERAS=0 python benchmarks/generation.py --data DATA_FOLDER --gpt .work/gpt --work .work/generation

Reviews of nsmc/train.csv, by their label, in two runs of `train text-generation`. As many reviews are written by each as make `--reviews`
in all, from an empty prompt, once for each of `SAMPLING`. A classifier of ours (`--encoder`, frozen, on 5,000 reviews of nsmc/train.csv)
says which sentiment they have; what it gets right of real reviews, those of nsmc/validation.csv, stands beside. Copies are texts that stand in
the training or pre-training texts, white space apart. Seconds a token are the fastest of five calls of the export, one text, one core, at two
lengths.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results" / "generation.json"
SAMPLING = (
    {"temperature": 1.0, "top_p": 1.0},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 0.7, "top_p": 0.9},
)
KINDS = (("positive", 1), ("negative", 0))


def texts_of(path: Path, label: int, size: int) -> list[str]:
    """Reviews with a label, in the order of the file."""
    table = pd.read_csv(path)
    return [" ".join(text.split()) for text in table[table["label"] == label]["document"].astype(str)][:size]


def taught(options, name: str, texts: list[str]) -> Path:
    """A run of `train text-generation`; an earlier one is used again."""
    out = options.work / name
    if not out.exists():
        file = options.work / f"{name}.txt"
        file.write_text("\n".join(texts) + "\n", "utf-8")
        command = [
            sys.executable,
            "-m",
            "tl_keras",
            "train",
            "text-generation",
            "--train",
            str(file),
            "--model",
            str(options.gpt),
        ]
        command += ["--out", str(out), "--seq-length", "64", "--epochs", str(options.epochs), "--learning-rate", "5e-4"]
        subprocess.run(command, check=True)
    return out


def judge(options):
    """A sentiment classifier, and its accuracy on reviews kept apart."""
    import tl_keras as tlk

    reviews = tlk.read_table(options.data / "nsmc" / "train.csv", "document").sample(options.judge_reviews, 0)
    valid = tlk.read_table(options.data / "nsmc" / "validation.csv", "document").sample(1000, 0)
    encoder = tlk.load_encoder(options.encoder)
    model = tlk.text_classifier(encoder, reviews.classes, "freeze")
    features = tlk.cache_features(model, reviews)
    features.model.fit(features.batches(reviews, training=True), epochs=10, verbose=0)
    return model, tlk.evaluate(model, valid).accuracy


def distinct_2(texts: list[str]) -> float:
    """Fraction of the pairs of neighbouring words that are different from one another."""
    pairs = [pair for text in texts for words in [text.split()] for pair in itertools.pairwise(words)]
    return len(set(pairs)) / max(len(pairs), 1)


def seconds_a_token(generator, length: int) -> float:
    """Of one text, the fastest of five; nearly all tokens alike likely, so that hardly a text ends before it is so long."""
    taken = []
    for seed in range(6):
        begun = time.perf_counter()
        tokens = int(generator.generate([""], max_length=length, temperature=1000.0, seed=seed)["tokens"][0])
        if seed and tokens >= length - 2:
            taken.append((time.perf_counter() - begun) / tokens)
    return min(taken)


def percent_copied(texts: list[str], known: set[str]) -> float:
    """Of texts, those that are known, white space apart."""
    return round(100 * float(np.mean(["".join(text.split()) in known for text in texts])), 1)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gpt", type=Path, required=True, help="run of pretrain gpt")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--encoder", default="ko-en-small", help="of the judge")
    parser.add_argument("--training-reviews", type=int, default=10_000, help="of each sentiment")
    parser.add_argument("--judge-reviews", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--reviews", type=int, default=500)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    import tl_keras as tlk

    known = {
        "".join(line.split()) for line in (options.data / "nsmc" / "unlabelled.txt").read_text("utf-8").split("\n")
    }
    real = {
        name: texts_of(options.data / "nsmc" / "train.csv", label, options.training_reviews) for name, label in KINDS
    }
    known |= {"".join(text.split()) for texts in real.values() for text in texts}
    runs = {name: taught(options, name, texts) for name, texts in real.items()}
    generators = {name: tlk.load_exported(run) for name, run in runs.items()}
    model, right = judge(options)
    classes = tlk.read_table(options.data / "nsmc" / "validation.csv", "document").classes
    rows = []
    for sampling in SAMPLING:
        row, written = dict(sampling), {}
        for name, label in KINDS:
            made = generators[name].generate(
                [""] * (options.reviews // 2), max_length=64, seed=1000 * label, **sampling
            )
            written[name] = [text.strip() for text in made["text"]]
            agreed = tlk.predict(model, written[name])["label"] == classes[label]
            row[name] = {"agreement": round(100 * float(agreed.mean()), 1), "first_five": written[name][:5]}
        texts = [text for some in written.values() for text in some]
        row |= {
            "reviews": len(texts),
            "agreement": round(float(np.mean([row[name]["agreement"] for name, _ in KINDS])), 1),
            "distinct_2": round(distinct_2(texts), 3),
            "copies_percent": percent_copied(texts, known),
            "mean_words": round(float(np.mean([len(text.split()) for text in texts])), 1),
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)
        rows.append(row)
    half = options.reviews // 2
    generator = generators["negative"]
    at = {length: seconds_a_token(generator, length) for length in (32, min(128, generator.max_length))}
    pretrained = json.loads((options.gpt / "metrics.json").read_text())
    result = {
        "sampling": rows,
        "judge": options.encoder,
        "judge_accuracy": round(100 * right, 1),
        "distinct_2_of_real_reviews": round(distinct_2([text for texts in real.values() for text in texts[:half]]), 3),
        "validation_perplexity": {
            name: json.loads((run / "metrics.json").read_text())["perplexity"] for name, run in runs.items()
        },
        "milliseconds_a_token": {str(length): round(1000 * seconds, 2) for length, seconds in at.items()},
        "training_reviews": options.training_reviews,
        "epochs": options.epochs,
        "pretraining": {name: pretrained[name] for name in ("steps", "tokens", "seconds", "parameters", "heldout")},
    }
    RESULTS.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(json.dumps(result, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
