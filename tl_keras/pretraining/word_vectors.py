"""Learning word vectors from text, with gensim: word2vec's skip-gram and CBOW, and fastText."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output
from tl_keras.options import check_choices, setting
from tl_keras.pretraining.corpus import CorpusFile, read_documents, scan_corpora
from tl_keras.text.word_rules import split_words

logger = logging.getLogger(__name__)

KINDS = ("skip-gram", "cbow", "fasttext", "fasttext-cbow")
DEFAULT_NAME = "vectors"
SETTINGS_SUFFIX = ".json"


@dataclasses.dataclass(frozen=True)
class WordVectorSettings:
    """What `train_word_vectors` can be told; the fields are the options of `pretrain word-vectors`.

    Raises:
        UserError: a setting that is out of range or not known.
    """

    corpus: tuple[str, ...] = setting(
        help="UTF-8 text, one sentence or text a line. Or a table (CSV, JSON lines, Parquet, ...), a document a row. Can be repeated.",
        type=list[str],
    )
    out: str = setting(
        help=".vec (text) or .bin (binary; for fastText with subwords), or a folder for vectors.vec (and vectors.bin)."
    )
    text: str = setting("text", help="Column of a table with the text.")
    kind: str = setting(
        "skip-gram", help="Method: skip-gram or cbow (word2vec), fasttext (skip-gram) or fasttext-cbow.", choices=KINDS
    )
    width: int = setting(100, help="Width of a vector.", least=1)
    epochs: int = setting(5, help="Passes over the corpus.", least=1)
    window: int = setting(5, help="Context window: words on each side, at most.", least=1)
    min_count: int = setting(5, help="How often a word must occur to get a vector.", least=1)
    negative: int = setting(5, help="Negative samples for each word.", least=1)
    sample: float = setting(
        1e-4, help="Subsampling threshold of frequent words: the smaller, the more of them are left out."
    )
    min_subword: int = setting(2, help="fastText: shortest subword, in characters.", least=1)
    max_subword: int = setting(5, help="fastText: longest subword, in characters.", least=1)
    buckets: int = setting(200_000, help="fastText: number of hash buckets for subwords.", least=1)
    lower_case: bool = setting(False, help="Lower-case all words.")
    learning_rate: float = setting(0.025, help="Initial learning rate.")
    workers: int = setting(1, help="Threads; only with one does a seed give the same vectors again.", least=1)
    seed: int = setting(0, help="Random seed of the whole run.")
    overwrite: bool = setting(False, help="Replace the files if they exist.")

    def __post_init__(self):
        check_choices(self)
        if not self.corpus:
            raise UserError("learning word vectors needs text: give at least one --corpus FILE.")
        if self.max_subword < self.min_subword:
            raise UserError(f"--max-subword {self.max_subword} is below --min-subword {self.min_subword}.")
        if not 0.0 < self.learning_rate <= 1.0 or not 0.0 <= self.sample < 1.0:
            raise UserError("--learning-rate must lie above 0 and at most at 1, --sample at 0 or between 0 and 1.")

    @property
    def is_fasttext(self) -> bool:
        """Whether words have parts."""
        return self.kind.startswith("fasttext")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far training has come.

    Args:
        epoch: from 1.
        epochs: in all.
        fraction: of all the work that is done.
        words_per_second: words of the corpus read in a second, before frequent ones are passed over.
    """

    epoch: int
    epochs: int
    fraction: float
    words_per_second: float


def train_word_vectors(
    settings: WordVectorSettings, report: Callable[[Progress], None] | None = None
) -> tuple[Path, ...]:
    """Learn word vectors from text files; write them, and a JSON file with the settings and the hashes of the corpora beside them.

    Words are those of `tl_keras.text.word_rules`, as the models of this package split texts. The files can be read by `read_vectors`, gensim
    and the programs that the formats come from. They appear when they are whole, or not at all.

    Args:
        settings: of the training.
        report: called now and then.

    Returns:
        The files written; the JSON file is the last.

    Raises:
        UserError: gensim is missing, a corpus cannot be read or holds less than two lines, no word occurs often enough, or a file is there.

    Source: Mikolov et al., https://arxiv.org/abs/1310.4546; Bojanowski et al., "Enriching Word Vectors with Subword Information",
        https://arxiv.org/abs/1607.04606.
    """
    targets = _targets(settings)
    settings_file = targets[0].with_name(targets[0].name + SETTINGS_SUFFIX)
    for target in (*targets, settings_file):
        refuse_input_as_output(target, settings.corpus)
        if target.exists() and not settings.overwrite:
            raise UserError(f"{target} exists; choose another --out, or pass --overwrite to replace it.")
    _require_gensim()
    corpora = scan_corpora(settings.corpus, text=settings.text)
    folder = targets[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{targets[0].name}-", dir=folder))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}.") from error
    try:
        split = _split_once(corpora, beside / "words.txt", settings.lower_case)
        started = time.perf_counter()
        model = _train(settings, split, report)
        seconds = time.perf_counter() - started
        drafts = [_save(model, settings, beside / target.name) for target in targets]
        facts = {
            **dataclasses.asdict(settings),
            "corpus": [corpus.as_dict() for corpus in corpora],
            "out": [target.name for target in targets],
            "words": len(model.wv),
            "corpus_words": split.words,
            "seconds": round(seconds, 1),
            "gensim": importlib.metadata.version("gensim"),
        }
        draft = beside / settings_file.name
        draft.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", "utf-8")
        for source, target in zip([*drafts, draft], [*targets, settings_file], strict=True):
            os.replace(source, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    logger.info("%s: %d words from %d in %.0f s.", targets[0], len(model.wv), split.words, seconds)
    return (*targets, settings_file)


class _SplitCorpus:
    """The texts of the corpora, split once and kept in a file: lists of words, again and again, counted as they go by."""

    def __init__(self, path: Path, words: int):
        self.path, self.words = path, words
        self.passed: Callable[[int], None] = lambda words: None

    def __iter__(self) -> Iterator[list[str]]:
        with self.path.open(encoding="utf-8", newline="\n") as stream:
            for line in stream:
                words = line.rstrip("\n").split(" ")
                self.passed(len(words))
                yield words


def _split_once(corpora: list[CorpusFile], path: Path, lower_case: bool) -> _SplitCorpus:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for corpus in corpora:
            for document in read_documents(corpus):
                for text in document:
                    words = split_words(text, lower_case)
                    count += len(words)
                    if words:
                        stream.write(" ".join(words) + "\n")
    return _SplitCorpus(path, count)


def _train(settings: WordVectorSettings, split: _SplitCorpus, report: Callable[[Progress], None] | None):
    """The trained gensim model."""
    from gensim.models import FastText, Word2Vec

    common = {
        "vector_size": settings.width, "window": settings.window, "min_count": settings.min_count,
        "negative": settings.negative, "sample": settings.sample, "alpha": settings.learning_rate,
        "workers": settings.workers, "seed": settings.seed, "sg": int(settings.kind in ("skip-gram", "fasttext")),
    }  # fmt: skip
    if settings.is_fasttext:
        parts = {"min_n": settings.min_subword, "max_n": settings.max_subword, "bucket": settings.buckets}
        model = FastText(**common, **parts)
    else:
        model = Word2Vec(**common)
    model.build_vocab(split)
    if not len(model.wv):
        raise UserError(
            f"no word occurs {settings.min_count} times in the {split.words:,} words of the corpus; choose a lower --min-count."
        )
    state = {"words": 0, "last": 0.0}
    started = time.perf_counter()

    def passed(words: int) -> None:
        state["words"] += words
        now = time.perf_counter()
        if report is not None and now - state["last"] >= 0.5:
            state["last"] = now
            report(_progress(settings, state["words"], split.words, now - started))

    split.passed = passed
    model.train(split, total_examples=model.corpus_count, epochs=settings.epochs)
    if report is not None:
        report(_progress(settings, state["words"], split.words, time.perf_counter() - started))
    return model


def _progress(settings: WordVectorSettings, passed: int, words: int, seconds: float) -> Progress:
    epoch = min(1 + max(passed - 1, 0) // max(words, 1), settings.epochs)
    return Progress(epoch, settings.epochs, passed / max(words * settings.epochs, 1), passed / max(seconds, 1e-9))


def _save(model, settings: WordVectorSettings, path: Path) -> Path:
    from gensim.models.fasttext import save_facebook_model

    if path.suffix == ".bin" and settings.is_fasttext:
        save_facebook_model(model, str(path))
    else:
        model.wv.save_word2vec_format(str(path), binary=path.suffix == ".bin")
    return path


def _targets(settings: WordVectorSettings) -> list[Path]:
    out = Path(settings.out)
    if out.suffix in (".vec", ".bin") and not out.is_dir():
        return [out]
    if out.is_file() or out.suffix in (".txt", ".gz", ".kv", ".model"):
        raise UserError(f"--out {out}: give a .vec or .bin file, or a folder.")
    names = [f"{DEFAULT_NAME}.vec", *([f"{DEFAULT_NAME}.bin"] if settings.is_fasttext else [])]
    return [out / name for name in names]


def _require_gensim() -> None:
    try:
        import gensim  # noqa: F401
    except ImportError as error:
        raise UserError("learning word vectors needs gensim: pip install tl_keras[vectors]") from error
