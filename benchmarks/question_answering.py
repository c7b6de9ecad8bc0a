"""Extractive question answering on few questions, beside baselines that need no encoder.

    python benchmarks/question_answering.py --data xquad_en/train.json --encoder ENCODER_PAIR
    python benchmarks/question_answering.py --data korquad/train.json --encoder KOREAN_PAIR --limit 2000

The file (SQuAD form) is split by document: no context is on both sides. Everything is trained or chosen on the first part and scored
on the second, and nothing is chosen on the second: the model is that of the last epoch. The baselines:

- constant: the answer most frequent in training, or the first k words of the context; which, and k, by F1 on the training part;
- sentence: the whole sentence that shares most with the question, words (for Korean, pairs of characters) weighted by rarity;
- span: the k rare words of that sentence that stand closest to words of the question without being in it; k by F1 on the training part.

Raw results go to benchmarks/results/question_answering.json, a row for each method, seed and limit.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
import time
from collections import Counter
from pathlib import Path

from rows import add_row

from tl_keras.data.squad import read_squad
from tl_keras.evaluation.answers import choose_normalisation, question_report

RESULTS = Path(__file__).parent / "results" / "question_answering.json"
SENTENCE_END = re.compile(r"(?<=[.!?。])\s+")
WORD = re.compile(r"\w+(?:[-'.,]\w+)*")
LENGTHS = range(1, 9)


def units(word: str, korean: bool) -> list[str]:
    """What is compared: the word, or the pairs of its characters, since Korean words carry particles."""
    word = word.lower()
    return [word[i : i + 2] for i in range(len(word) - 1)] or [word] if korean else [word]


class Lexical:
    """Finds answers by the words a context shares with the question.

    Args:
        contexts: from which the rarity of words is counted.
        korean: compare pairs of characters.
    """

    def __init__(self, contexts, korean: bool):
        self.korean = korean
        sentences = [s for context in dict.fromkeys(contexts) for s in SENTENCE_END.split(context)]
        counts = Counter(unit for s in sentences for unit in {u for w in WORD.findall(s) for u in units(w, korean)})
        self.rarity = {unit: math.log(len(sentences) / count) for unit, count in counts.items()}

    def sentence(self, question: str, context: str) -> str:
        """The sentence that shares most with the question."""
        asked = {u for w in WORD.findall(question) for u in units(w, self.korean)}

        def shared(sentence: str) -> float:
            found = {u for w in WORD.findall(sentence) for u in units(w, self.korean)}
            return sum(self.rarity.get(u, 0.0) for u in asked & found)

        return max(SENTENCE_END.split(context), key=shared)

    def span(self, question: str, context: str, length: int) -> str:
        """So many words of that sentence, near to the question's words, but none of them."""
        sentence = self.sentence(question, context)
        asked = {u for w in WORD.findall(question) for u in units(w, self.korean)}
        words = list(WORD.finditer(sentence))
        if not words:
            return sentence
        # How much of each word the question has, weighted by how rare it is.
        matches, rare = [], []
        for word in words:
            parts = units(word.group(), self.korean)
            matches.append(sum(self.rarity.get(u, 0.0) for u in parts if u in asked) / len(parts))
            rare.append(sum(self.rarity.get(u, 0.0) for u in parts) / len(parts))
        # "The" and "of" are near to everything: an answer is made of rare words.
        near = [
            (rare[i] - matches[i]) * sum(match / (1 + abs(i - j)) for j, match in enumerate(matches)) - matches[i] ** 2
            for i in range(len(words))
        ]
        length = min(length, len(words))
        start = max(range(len(words) - length + 1), key=lambda i: sum(near[i : i + length]))
        return sentence[words[start].start() : words[start + length - 1].end()]


def first_words(context: str, length: int) -> str:
    """The first words of a context."""
    return " ".join(context.split()[:length])


def score(answers, examples, normalisation: str) -> dict:
    """Exact match and F1 in percent."""
    right = [[answer.text for answer in given] for given in examples.answers]
    report = question_report(list(answers), right, normalisation)
    return {"exact_match": round(100 * report.exact_match, 2), "f1": round(100 * report.f1, 2)}


def baselines(train, test, normalisation: str) -> dict[str, dict]:
    """The scores of the baselines on the test part, with what was chosen on the training part."""
    lexical = Lexical([*train.contexts, *test.contexts], normalisation == "korquad")

    def spans(part, length):
        return [lexical.span(q, c, length) for q, c in zip(part.questions, part.contexts, strict=True)]

    frequent = Counter(given[0].text for given in train.answers if given).most_common(1)[0][0]
    constants = {
        f"always {frequent!r}": lambda part: [frequent] * len(part),
        **{
            f"first {k} word(s)": lambda part, k=k: [first_words(context, k) for context in part.contexts]
            for k in LENGTHS
        },
    }
    constant = max(constants, key=lambda name: score(constants[name](train), train, normalisation)["f1"])
    length = max(LENGTHS, key=lambda k: score(spans(train, k), train, normalisation)["f1"])
    sentences = [lexical.sentence(q, c) for q, c in zip(test.questions, test.contexts, strict=True)]
    return {
        "constant": {"chosen": constant, **score(constants[constant](test), test, normalisation)},
        "sentence": score(sentences, test, normalisation),
        "span": {"chosen": f"{length} word(s)", **score(spans(test, length), test, normalisation)},
    }


def fine_tune(options, train, test, normalisation: str, seed: int) -> dict:
    """Train an answerer for a fixed number of epochs, and score it."""
    import tl_keras as tlk
    from tl_keras._keras import KERAS_NAME, keras
    from tl_keras.models.pair_builders import question_answerer
    from tl_keras.models.text_labels import batches as make_batches
    from tl_keras.serving.evaluate import evaluate_questions

    keras.utils.set_random_seed(seed)
    encoder = tlk.load_encoder(options.encoder, seq_length=options.seq_length)
    model = question_answerer(encoder, learning_rate=options.learning_rate)
    batches = make_batches(model, train, training=True, batch_size=options.batch_size, seed=seed)
    started = time.perf_counter()
    model.fit(batches, epochs=options.epochs, verbose=2)
    seconds = time.perf_counter() - started
    report = evaluate_questions(model, test, normalisation=normalisation)
    return {
        "encoder": Path(options.encoder).name,
        "keras": KERAS_NAME,
        "epochs": options.epochs,
        "seq_length": options.seq_length,
        "learning_rate": options.learning_rate,
        "windows_per_epoch": int(batches.cardinality()) * options.batch_size,
        "train_seconds": round(seconds, 1),
        "exact_match": round(100 * report.exact_match, 2),
        "f1": round(100 * report.f1, 2),
    }


def main() -> None:
    """Run what the command line asks for, and write each result as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", help="of the data in the results; by default the folder's")
    parser.add_argument("--encoder", help="without it only the baselines are scored")
    parser.add_argument("--test-fraction", type=float, default=0.2)
    parser.add_argument("--limit", type=int, help="train on so many questions only")
    parser.add_argument("--test-limit", type=int, help="score so many questions only")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--seq-length", type=int, default=192)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    name = options.name or options.data.resolve().parent.name
    everything = read_squad(options.data).learnable()
    normalisation = choose_normalisation([answer.text for given in everything.answers for answer in given])
    # One split for all seeds: seeds vary the training only.
    train, test = everything.split(options.test_fraction, seed=0)
    if options.limit:
        train = train.sample(options.limit, seed=0)
    if options.test_limit:
        test = test.sample(options.test_limit, seed=0)
    shared = {
        "data": name,
        "train_questions": len(train),
        "test_questions": len(test),
        "normalisation": normalisation,
    }
    kind = ("data", "method", "encoder", "seed", "train_questions", "test_questions", "keras", "epochs", "seq_length")
    for method, row in baselines(train, test, normalisation).items():
        add_row(options.results, {**shared, "method": method, "seed": None, **row}, kind)
    for seed in options.seeds if options.encoder else []:
        row = fine_tune(options, train, test, normalisation, seed)
        add_row(options.results, {**shared, "method": "fine-tune", "seed": seed, **row}, kind)


if __name__ == "__main__":
    main()
