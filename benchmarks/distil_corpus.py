"""Writes the texts that the shipped encoder was distilled on, one text a line, from the shared data sets and WordNet.

    python benchmarks/distil_corpus.py --data SHARED_DATA --wordnet /usr/share/wordnet --out .work/distil/corpus

`SHARED_DATA` holds the folders nsmc, korsts, ... and the files pretrain_en.txt and pretrain_ko.txt; WordNet's glosses and examples are
in Debian's package `wordnet-base`. Only texts are taken, never a label, and only from files of training data: what the benchmarks of
this folder score stays out (files named test, dev and validation, the 500 sentences of klue_ner and the rows of trec that
`tagging.py` and `labelled_data.py` keep apart, the documents of xquad_en and korquad that `question_answering.py` keeps apart), and so
does every text that occurs in one of those.

Pairs and questions with their paragraph are written as documents (lines that follow one another, an empty line between documents), so
that distillation can also join them to one input.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import tl_keras as tlk
from tl_keras.advice.texts import text_key
from tl_keras.data.squad import read_squad

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
EXAMPLE = re.compile(r'"([^"]+)"')


def tsv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, keep_default_na=False)


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").split("\n") if line.strip()]


def documents(path: Path) -> list[list[str]]:
    return [document.split("\n") for document in path.read_text("utf-8").strip().split("\n\n")]


def single(texts: Iterable[str]) -> list[list[str]]:
    return [[text] for text in texts]


def pairs(first: Iterable[str], second: Iterable[str]) -> list[list[str]]:
    return [list(pair) for pair in zip(first, second, strict=True)]


def squad(path: Path):
    """The questions to learn from, and those that are kept apart."""
    return read_squad(path).learnable().split(0.2, seed=0)


def questions(path: Path) -> list[list[str]]:
    """Each paragraph in sentences, after the first question that it answers; then the other questions by themselves."""
    kept = squad(path)[0]
    paragraphs, others = {}, []
    for question, context in zip(kept.questions, kept.contexts, strict=True):
        if context in paragraphs:
            others.append([question])
        else:
            paragraphs[context] = [question, *(s for s in SENTENCE_END.split(context) if s.strip())]
    return [*paragraphs.values(), *others]


def wordnet(folder: Path) -> Iterator[str]:
    """Definitions and example sentences."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith(" ") or "|" not in line:
                continue
            head, gloss = line.split("|", 1)
            words = head.split()
            name = words[4].replace("_", " ").split("(")[0]
            definition = EXAMPLE.sub("", gloss).strip(" ;")
            if definition:
                yield f"{name}: {definition}"
            yield from (example for example in EXAMPLE.findall(gloss) if " " in example)


def sampled(rows: list, count: int, rng: np.random.Generator) -> list:
    return [rows[index] for index in sorted(rng.permutation(len(rows))[:count])]


def kept_apart(data: Path) -> set[str]:
    """Keys of all texts that are scored somewhere."""
    nsmc = [table(data / "nsmc" / name).document for name in ("validation.csv", "test.csv")]
    korsts, xnli = tsv(data / "korsts" / "dev.tsv"), tsv(data / "xnli_ko" / "dev.tsv")
    question_pair, sst2 = table(data / "question_pair" / "dev.csv"), table(data / "sst2" / "dev.csv")
    texts = [*nsmc, sst2.text, question_pair.question1, question_pair.question2]
    texts += [korsts.sentence1, korsts.sentence2, xnli.sentence1, xnli.sentence2]
    texts += [trec(data)[1].texts, klue(data)[1].texts, tlk.read_tagged(data / "wnut17" / "dev.conll").texts]
    for name in ("xquad_en", "korquad"):
        held = squad(data / name / "train.json")[1]
        texts += [held.questions, [s for context in set(held.contexts) for s in SENTENCE_END.split(context)]]
    return {text_key(text) for column in texts for text in column}


def trec(data: Path):
    examples = tlk.read_table(data / "trec" / "train.csv", "text", "label_name")
    return examples.split(865 / len(examples), seed=0)


def klue(data: Path):
    return tlk.read_tagged(data / "klue_ner" / "train.conll").split(0.125, seed=0)


def sources(data: Path, wordnet_folder: Path, rng: np.random.Generator) -> Iterator[tuple[str, list[list[str]]]]:
    """Name of a file, and its documents."""
    korsts, question_pair = tsv(data / "korsts" / "train.tsv"), table(data / "question_pair" / "train.csv")
    yield "reviews_ko", single(sampled(lines(data / "nsmc" / "unlabelled.txt"), 75_000, rng))
    yield "nsmc", single(table(data / "nsmc" / "train.csv").document)
    yield "korsts", pairs(korsts.sentence1, korsts.sentence2)
    yield "question_pair", pairs(question_pair.question1, question_pair.question2)
    yield "klue_ner", single(klue(data)[0].texts)
    yield "korquad", questions(data / "korquad" / "train.json")
    yield "novels_ko", documents(data / "pretrain_ko.txt")
    yield "novels_en", sampled(documents(data / "pretrain_en.txt"), 280, rng)
    yield "sst2", single(table(data / "sst2" / "train.csv").text)
    yield "trec", single(trec(data)[0].texts)
    yield "wnut17", single(tlk.read_tagged(data / "wnut17" / "train.conll").texts)
    yield "xquad_en", questions(data / "xquad_en" / "train.json")
    yield "wordnet", single(sampled(list(wordnet(wordnet_folder)), 55_000, rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="other reviews, chapters and definitions with each number")
    options = parser.parse_args()

    apart = kept_apart(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in sources(options.data, options.wordnet, np.random.default_rng(options.seed)):
        texts = [[text for text in row if text_key(text) not in apart] for row in rows]
        texts = [row for row in texts if row]
        alone = all(len(row) == 1 for row in rows)
        separator = "\n" if alone else "\n\n"
        cleaned = ("\n".join(" ".join(text.split()) for text in row) for row in texts)
        (options.out / f"{name}.txt").write_text(separator.join(cleaned) + "\n", encoding="utf-8")
        print(
            f"{name}: {len(texts):,} documents, {sum(map(len, texts)):,} lines, {sum(len(t) for r in texts for t in r):,} characters"
        )


if __name__ == "__main__":
    main()
