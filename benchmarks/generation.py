"""A small GPT on Korean film reviews: fine-tuned on positive and on negative ones, does it write what it was taught, and how fast?

    tl-keras pretrain gpt --corpus DATA_FOLDER/nsmc/unlabelled.txt --steps 2300 --max-length 128 --init-embeddings skip-gram \
        --heldout-fraction 0.002 --out .work/gpt
    TF_USE_LEGACY_KERAS=0 python benchmarks/generation.py --data DATA_FOLDER --gpt .work/gpt --work .work/generation

Reviews of nsmc/train.csv, by their label, in two runs of `train text-generation`. As many reviews are written by each as make `--reviews`
in all, from an empty prompt. A classifier of ours (`--encoder`, frozen, on 5,000 reviews of nsmc/train.csv) says which sentiment
they have; what it gets right on nsmc/validation.csv stands beside. Copies are texts that stand in the training or pre-training texts, white
space apart. Seconds a token are the fastest of five calls of the export, one text, one core, at two lengths.
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
    """Of one text, the fastest of five."""
    fastest = float("inf")
    for seed in range(6):
        begun = time.perf_counter()
        tokens = int(generator.generate([""], max_length=length, temperature=1.5, seed=seed)["tokens"][0])
        if seed and tokens >= length - 2:
            fastest = min(fastest, (time.perf_counter() - begun) / tokens)
    return fastest


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
    parser.add_argument("--top-p", type=float, default=0.95)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    import tl_keras as tlk

    known = {
        "".join(line.split()) for line in (options.data / "nsmc" / "unlabelled.txt").read_text("utf-8").split("\n")
    }
    model, right = judge(options)
    classes, result = tlk.read_table(options.data / "nsmc" / "validation.csv", "document").classes, {}
    agreed, written = 0, []
    for label, name in ((1, "positive"), (0, "negative")):
        texts = texts_of(options.data / "nsmc" / "train.csv", label, options.training_reviews)
        known |= {"".join(text.split()) for text in texts}
        run = taught(options, name, texts)
        generator = tlk.load_exported(run)
        reviews = [
            text.strip()
            for text in generator.generate(
                [""] * (options.reviews // 2), max_length=64, top_p=options.top_p, seed=1000 * label
            )["text"]
        ]
        answers = tlk.predict(model, reviews)["label"]
        agreed += int((answers == classes[label]).sum())
        written += reviews
        result[name] = {
            "agreement": round(100 * float((answers == classes[label]).mean()), 1),
            "validation_perplexity": json.loads((run / "metrics.json").read_text())["perplexity"],
            "first_five": reviews[:5],
        }
    at = {length: seconds_a_token(generator, length) for length in (32, min(128, generator.max_length))}
    pretrained = json.loads((options.gpt / "metrics.json").read_text())
    result |= {
        "reviews": len(written),
        "agreement": round(100 * agreed / len(written), 1),
        "judge": options.encoder,
        "judge_accuracy": round(100 * right, 1),
        "distinct_2": round(distinct_2(written), 3),
        "distinct_2_of_real_reviews": round(distinct_2(texts[: len(written)]), 3),
        "copies_percent": round(100 * float(np.mean(["".join(text.split()) in known for text in written])), 1),
        "milliseconds_a_token": {str(length): round(1000 * seconds, 2) for length, seconds in at.items()},
        "training_reviews": options.training_reviews,
        "epochs": options.epochs,
        "pretraining": {name: pretrained[name] for name in ("steps", "tokens", "seconds", "parameters", "heldout")},
    }
    RESULTS.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(json.dumps(result, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
