"""Making an encoder small: a vocabulary of the tokens that are needed, fewer blocks, and distillation."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from tl_keras.data.formats import expand
from tl_keras.encoders.encoder_weights import EncoderWeights, MlmWeights
from tl_keras.encoders.pair import check_free, write_encoder_pair
from tl_keras.encoders.pair_encoder import read_pair_weights
from tl_keras.encoders.resolve import read_suggestions, resolve_pair
from tl_keras.encoders.vocabularies import Vocabulary
from tl_keras.encoders.vocabulary_trim import (
    VocabularyIds,
    always_kept,
    count_tokens,
    frequent_words,
    read_pair_vocabulary,
    trim_mlm,
    trim_vocabulary,
    trim_weights,
)
from tl_keras.errors import UserError
from tl_keras.pretraining.compress_report import CompressionReport, measure
from tl_keras.pretraining.corpus import read_documents, scan_corpora
from tl_keras.pretraining.distil import Distillation, DistilSettings, Teacher
from tl_keras.pretraining.distil_model import keep_blocks
from tl_keras.pretraining.run_files import Report, draft_in
from tl_keras.pretraining.vocabulary import SpecialTokens

logger = logging.getLogger(__name__)

_KEPT = "kept_tokens.npy"
_SAMPLE = 500


@dataclass(frozen=True)
class Trimming:
    """Which tokens stay.

    Attributes:
        files: text files or tables; a token that occurs in them at least `min_count` times stays.
        languages: codes, such as `ko` and `en`; the tokens of their most frequent words stay.
        min_count: see `files`.
        words: how many words of each language.
        text: the column of tables with the text.
    """

    files: Sequence[str | os.PathLike] = ()
    languages: Sequence[str] = ()
    min_count: int = 3
    words: int = 20_000
    text: str = "text"

    def __bool__(self) -> bool:
        return bool(self.files or self.languages)


@dataclass(frozen=True)
class _Network:
    """An encoder in memory."""

    weights: EncoderWeights
    mlm: MlmWeights | None
    vocabulary: Vocabulary

    def trimmed(self, kept: np.ndarray) -> _Network:
        mlm = self.mlm and trim_mlm(self.mlm, kept)
        return _Network(trim_weights(self.weights, kept), mlm, trim_vocabulary(self.vocabulary, kept))


def compress(
    encoder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    vocabulary_from: Sequence[str | os.PathLike] = (),
    languages: Sequence[str] = (),
    min_count: int = 3,
    words: int = 20_000,
    layers: Sequence[int] | None = None,
    distil_on: Sequence[str | os.PathLike] = (),
    text: str = "text",
    resume: bool = False,
    overwrite: bool = False,
    name: str | None = None,
    on_report: Callable[[Report], None] | None = None,
    command: str | None = None,
    run: Callable[[Distillation], None] | None = None,
    **distillation,
) -> CompressionReport:
    """Make a smaller encoder of another: with fewer tokens, fewer blocks, or both, and let it learn from the larger one.

    A vocabulary cut to the tokens that a user's texts need costs nothing on such texts. Blocks that are left out cost
    nearly all, unless the smaller encoder learns to give the larger one's vectors (`distil_on`).

    Args:
        encoder: an encoder pair of this package's making: a preset of it, or what `convert` or `pretrain bert` wrote.
        out: folder to make; after distillation it is the run's folder as well.
        vocabulary_from: text files, one text a line, or tables; tokens that occur there `min_count` times stay.
        languages: codes (`ko`, `en`, ...); tokens of their `words` most frequent words stay. Needs the extra `compress`.
        min_count: see there. Special tokens and single characters always stay.
        words: see there.
        layers: the blocks to keep, from 0, increasing; by default all.
        distil_on: text files to learn on, an empty line ending a document, whose lines may stand in one row; or tables, a document a row.
        text: the column of tables with the text.
        resume: go on with the distillation whose checkpoint is in `out`; what is to be done is read from there.
        overwrite: replace an encoder pair.
        name: of the new encoder; by default the folder's.
        on_report: called after each step of the distillation.
        command: the command line, for the model card.
        run: runs the distillation, where more is to be done than `Distillation.run`.
        **distillation: further settings of `DistilSettings`: `minutes` or `steps`, `peak_learning_rate`, ...

    Returns:
        Sizes and speed before and after.

    Raises:
        UserError: a file or an option is wrong; nothing has been written then.
    """
    out = Path(out)
    folder = _pair_folder(encoder)
    if out.resolve() == folder.resolve():
        raise UserError(f"{out} is the encoder itself; name another folder for the smaller one.")
    vocabulary_from, distil_on = (
        [path for file in files for path in expand(file)] for files in (vocabulary_from, distil_on)
    )
    trimming = Trimming(vocabulary_from, languages, min_count, words, text)
    if not (resume or trimming or layers is not None or distil_on):
        raise UserError(
            "nothing to do: give --vocabulary-from or --languages for fewer tokens, --layers for fewer blocks, or --distil-on."
        )
    if distillation and not (distil_on or resume):
        raise UserError(
            f"{', '.join(sorted(distillation))}: settings of a distillation; say on which texts with --distil-on."
        )
    settings = None
    if resume:
        settings = DistilSettings.resumed(out, distillation.get("steps"), distillation.get("minutes"))
        layers = settings.layers
        if Path(settings.teacher).resolve() != folder.resolve():
            logger.warning(
                "The run in %s began with the encoder %s, and goes on with %s.", out, settings.teacher, folder
            )
    elif not distil_on or (out / "encoder").exists():
        check_free(out, overwrite=overwrite)
    weights, _, mlm = read_pair_weights(folder / "encoder")
    before = _Network(weights, mlm, read_pair_vocabulary(folder))
    layers = range(weights.num_layers) if layers is None else layers
    check_layers(layers, weights.num_layers)
    suggested = read_suggestions(folder / "encoder")
    kept = _kept_tokens(before, trimming, suggested.get("prompts", {}).values(), out if resume else None)
    trimmed = before if kept is None else before.trimmed(kept)
    info = {
        "name": name or out.name,
        "compressed_from": Path(folder).name,
        "suggested": suggested,
        "seq_length": json.loads((folder / "info.json").read_text("utf-8")).get("seq_length", 128),
    }
    if settings is None and not distil_on:
        after = _Network(keep_blocks(trimmed.weights, layers), _head_of_all(trimmed, layers), trimmed.vocabulary)
        _write(out, after, info, overwrite)
    else:
        settings = settings or _settings(folder, out, layers, distil_on, info, {"text": text, **distillation})
        after = _distilled(trimmed, settings, kept, resume, info, on_report, command, run)
    sample = _sample(
        [*vocabulary_from, *distil_on] or (settings.corpus if settings else ()),
        languages,
        settings.text if settings else text,
    )
    return CompressionReport(*(measure(n.weights, n.vocabulary, sample) for n in (before, after)))


def check_layers(layers: Sequence[int], count: int) -> None:
    """Refuse blocks that an encoder does not have.

    Raises:
        UserError: they do not increase, or are too many.
    """
    layers = list(layers)
    if not layers or layers != sorted(set(layers)) or layers[0] < 0 or layers[-1] >= count:
        given = ",".join(map(str, layers)) or "none"
        raise UserError(f"--layers {given}: give increasing numbers of the encoder's {count} blocks, 0 to {count - 1}.")


def _pair_folder(encoder: str | os.PathLike) -> Path:
    found, preprocess = resolve_pair(encoder)
    if preprocess is None:
        raise UserError(f"{encoder} is a text embedding without tokens and blocks, so there is nothing to leave out.")
    if Path(preprocess).parent != Path(found).parent:
        raise UserError(f"{encoder} is not a pair in one folder; make one of its checkpoint with `tl-keras convert`.")
    return Path(found).parent


def _kept_tokens(
    network: _Network, trimming: Trimming, prompts: Iterable[str], resumed: Path | None
) -> np.ndarray | None:
    """Ids of the tokens that stay; None for all."""
    if resumed is not None:
        path = resumed / _KEPT
        return np.load(path) if path.is_file() else None
    if not trimming:
        return None
    size = len(network.vocabulary.tokens)
    ids = VocabularyIds(network.vocabulary)
    # The prompts stand before every text, whether the files that are read have their words or not.
    kept = always_kept(network.vocabulary) | (count_tokens(ids.stream(prompts), size) > 0)
    for language_words in [list(frequent_words(trimming.languages, trimming.words))] if trimming.languages else []:
        kept |= count_tokens(ids.stream(language_words), size) > 0
    if trimming.files:
        kept |= count_tokens(ids.stream(_texts(trimming.files, trimming.text)), size) >= trimming.min_count
    logger.info("%d of %d tokens stay", kept.sum(), size)
    return np.flatnonzero(kept)


def _texts(files: Sequence[str | os.PathLike], text: str) -> Iterator[str]:
    for corpus in scan_corpora(files, text=text):
        for document in read_documents(corpus):
            yield from document


def _sample(files: Sequence[str | os.PathLike], languages: Sequence[str], text: str) -> list[str]:
    """Some texts to measure on: every n-th of the files, or else frequent words."""
    if files:
        texts = list(_texts([path for path in files if Path(path).is_file()], text))
        return texts[:: max(len(texts) // _SAMPLE, 1)][:_SAMPLE]
    return list(frequent_words(languages, _SAMPLE))[:_SAMPLE] if languages else ["한국어 문장", "an English sentence"]


def _head_of_all(network: _Network, layers: Sequence[int]) -> MlmWeights | None:
    """The masked-LM head, while it stands on the block that it learned to stand on."""
    return network.mlm if list(layers)[-1] == network.weights.num_layers - 1 else None


def _settings(folder: Path, out: Path, layers, distil_on, info: dict, given: dict) -> DistilSettings:
    known = {field.name for field in fields(DistilSettings)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise UserError(f"{unknown[0]} is no setting of a distillation; there are {', '.join(sorted(known))}.")
    prompts = list(dict(info["suggested"].get("prompts", {})).values())
    # Most texts are short ones, which take the first prompt; some come without, so that forgetting it costs little.
    shares = ((prompts[0], 0.6), (prompts[1], 0.2)) if len(prompts) > 1 else tuple((prompt, 0.8) for prompt in prompts)
    return DistilSettings(
        **{"prompts": shares, **given},
        out=str(out),
        corpus=tuple(map(str, distil_on)),
        teacher=str(folder),
        layers=tuple(layers),
        name=info["name"],
    )


def _distilled(network: _Network, settings: DistilSettings, kept, resume, info, on_report, command, run) -> _Network:
    vocabulary = network.vocabulary
    teacher = Teacher(
        network.weights, VocabularyIds(vocabulary), SpecialTokens.of(vocabulary), vocabulary.packing.separators
    )
    out = Path(settings.out)
    distillation = Distillation(settings, teacher, resume, on_report, command)
    if kept is not None and not resume:
        np.save(out / _KEPT, kept)
    (run or Distillation.run)(distillation)
    if not distillation.finished:
        raise UserError(f"the distillation in {out} was stopped; go on with it by --resume.")
    student = _Network(distillation.student_weights(), distillation.mlm_weights(), network.vocabulary)
    facts = json.loads((out / "metrics.json").read_text("utf-8"))
    info = {**info, "distilled": {"tokens": facts["tokens"], "heldout": facts["heldout"]}}
    with draft_in(out) as draft:
        _write(draft, student, info, overwrite=True)
    return student


def _write(out: Path, network: _Network, info: dict, overwrite: bool) -> None:
    how = {"seq_length": info["seq_length"], "mlm_head": network.mlm, "info": info, "overwrite": overwrite}
    write_encoder_pair(out, network.weights, network.vocabulary, **how)
