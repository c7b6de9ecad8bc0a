"""`advise`: look at labelled texts and an encoder before anything is trained, and say what to do."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tl_keras.advice.curve import FROZEN, WORDS, Curve, frozen_method, learning_curves, words_method
from tl_keras.advice.domain import language_of, proxy_distance, pseudo_perplexity, reference_texts
from tl_keras.advice.result import Advice, DomainSimilarity, label_notes
from tl_keras.advice.rules import FEW_SHOT, Evidence, Recommendation, recommend
from tl_keras.advice.texts import LabelReport, LengthReport, label_report, length_report, without_repeats
from tl_keras.data.examples import Examples
from tl_keras.encoders.base import Encoder, require_encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of
from tl_keras.errors import UserError
from tl_keras.models.pair_builders import sentence_encoder
from tl_keras.models.text_vectors import TextVectors


class FrozenEncoder:
    """A loaded encoder whose outputs stay as they are.

    Args:
        encoder: from `load_encoder`.

    Attributes:
        pooling: how a text's vector is made: as the encoder's makers suggest, else the mean over the tokens.

    Raises:
        UserError: `seq_length` is more than the encoder has positions for.
    """

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        self.pooling = encoder.suggested.get("pooling", "mean")
        try:
            self.model = sentence_encoder(encoder, "freeze", pooling=self.pooling, normalize=False)
        except UserError as error:
            if "sequence_output" not in str(error):
                raise
            # A module that gives one vector for a text and no other.
            self.pooling = "cls"
            self.model = sentence_encoder(encoder, "freeze", pooling="cls", normalize=False)
        self.layer = encoder_layer_of(self.model)
        self._vectors = TextVectors(self.model, encoder)

    def vectors(self, examples: Examples) -> np.ndarray:
        """What a head on the frozen encoder gets to see: float32 `[n, width]`, pairs packed into one input.

        This is the one place where advice asks for vectors.
        """
        return self._vectors.compute(examples)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.model.output_shape[-1])

    @functools.cached_property
    def blocks(self) -> int:
        """How many blocks can learn apart from those below them; 0 if the encoder shows none."""
        parts = self.layer.parts
        # Blocks that share their weights, as ALBERT's do, cannot.
        return parts.block_count if all(len(part.blocks) < 2 for part in parts.parts) else 0

    @property
    def position_limit(self) -> int | None:
        """How many positions the encoder has vectors for, as far as it tells."""
        return getattr(self.layer, "position_limit", None)

    @property
    def mlm(self) -> Callable | None:
        """The masked-LM head with the encoder below it, as Model Garden exports it; None if there is none."""
        if self.encoder.takes_text or self.encoder.layers is not None:
            return None
        return getattr(getattr(self.layer, "resolved_object", None), "mlm", None)


logger = logging.getLogger(__name__)

SAMPLE = 3000
"""Texts for the learning curve: encoding them takes seconds with a small encoder, a minute or two with BERT-base on two cores."""
FEWEST_REFERENCE = 20
CUT_TO_MEND = 0.01
# Words are joined to others in these scripts, so runs of characters tell more than words do.
_JOINED = (("가", "힣"), ("ぁ", "ヿ"), ("一", "鿿"), ("ก", "๛"))


def advise(
    examples: Examples,
    encoder: Encoder,
    *,
    reference: Sequence[str] | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    options: Mapping[str, str] | None = None,
) -> Advice:
    """Say what labelled texts look like to an encoder, what accuracy to expect, and how to train.

    Nothing is trained but small classifiers on frozen vectors and on word counts.

    Args:
        examples: texts or pairs with one label each, from `read_table`.
        encoder: from `load_encoder`; its `seq_length` counts.
        reference: texts like those that the encoder was pre-trained on, to compare with; by default a hundred sentences of plain
            prose that come with the package, if the texts are English or Korean.
        sample: how many different texts to measure the learning curve on.
        seed: of samples, splits and masks.
        options: of the `tl-keras train` call to suggest, by name without dashes, e.g. `{"train": "reviews.csv", "text": "document"}`.

    Returns:
        What was found out; print it, or read its parts.

    Raises:
        UserError: no labels or one class only, several labels a text, always the same text, pairs for a module that takes single
            texts, or too small a reference.

    Example:
        >>> advice = tlk.advise(reviews, encoder)  # 32 of each class
        >>> advice.recommendation.transfer
        'few-shot'
    """
    require_encoder(encoder)
    labels = label_report(examples)
    if encoder.takes_text and examples.text_pairs is not None:
        raise UserError("a text embedding module takes one text; for pairs choose a BERT-like encoder.")
    if sample < 2:
        raise UserError(f"the sample must be of at least 2 texts, not {sample}.")
    if reference is not None and len(reference) < FEWEST_REFERENCE:
        raise UserError(
            f"{len(reference)} reference text(s) are too few to compare with: give at least {FEWEST_REFERENCE}."
        )
    frozen = FrozenEncoder(encoder)
    different = without_repeats(examples)
    part = different.sample(sample, seed)
    preprocessor = None if encoder.takes_text else encoder.preprocessor
    lengths = length_report(part, preprocessor, encoder.seq_length)
    logger.info("Encoding %d texts ...", len(part))
    vectors = frozen.vectors(part)
    domain = _domain_similarity(frozen, part, vectors, reference, seed)
    logger.info("Measuring the learning curve ...")
    curves = measure_curves(part, vectors, len(different), seed)
    evidence = gather_evidence(labels, curves, len(different), examples.text_pairs is not None, frozen, lengths, domain)
    recommendation = recommend(evidence)
    notes = [*label_notes(labels)]
    seq_length = suggest_seq_length(lengths, frozen.position_limit)
    if seq_length is not None and seq_length != encoder.seq_length:
        notes.append(
            f"{lengths.cut:.1%} of the texts are cut at {encoder.seq_length} tokens; --seq-length {seq_length} keeps more, and takes longer."
        )
    command = _command(examples, frozen, recommendation, seq_length, options or {})
    return Advice(
        source=examples.source,
        encoder=encoder.name,
        labels=labels,
        lengths=lengths,
        domain=domain,
        curves=tuple(curves),
        recommendation=recommendation,
        command=tuple(command),
        sampled=len(part),
        notes=tuple(notes),
    )


def measure_curves(examples: Examples, vectors: np.ndarray, all_labels: int, seed: int = 0) -> list[Curve]:
    """The learning curves of the frozen encoder and of TF-IDF on texts that are all different.

    Args:
        examples: `n` of them.
        vectors: float `[n, width]`, what the frozen encoder makes of them.
        all_labels: how many there are, of which `examples` may be a sample.
        seed: of the splits.
    """
    methods = {
        FROZEN: frozen_method(vectors, examples.labels),
        WORDS: words_method(examples, joins_words(examples.texts)),
    }
    return learning_curves(examples.labels, methods, all_labels, seed)


def gather_evidence(
    labels: LabelReport,
    curves: Sequence[Curve],
    different: int,
    pairs: bool,
    frozen: FrozenEncoder,
    lengths: LengthReport | None = None,
    domain: DomainSimilarity | None = None,
) -> Evidence:
    """What the rules look at, out of what was measured."""
    found = {curve.method: curve.with_all.accuracy for curve in curves}
    return Evidence(
        labels=different,
        pairs=pairs,
        blocks=frozen.blocks,
        width=frozen.width,
        suggested_learning_rate=frozen.encoder.suggested.get("learning_rate"),
        frozen=found.get(FROZEN),
        words=found.get(WORDS),
        majority=labels.majority,
        unknown_words=None if lengths is None else lengths.unknown_words,
        perplexity_ratio=None if domain is None else domain.perplexity_ratio,
        labels_per_class=different / len(labels.counts),
    )


def joins_words(texts: Sequence[str]) -> bool:
    """Whether characters tell more than words: Hangul, Japanese, Chinese, Thai.

    Example:
        >>> joins_words(["영화가 좋았다"]), joins_words(["a fine film"])
        (True, False)
    """
    letters = [c for text in texts for c in text if c.isalpha()]
    return sum(any(low <= c <= high for low, high in _JOINED) for c in letters) > 0.3 * len(letters)


def suggest_seq_length(lengths: LengthReport, limit: int | None) -> int | None:
    """The `seq_length` to train with: as given, or long enough for 99 of 100 texts if many are cut; None without tokens."""
    if lengths.seq_length is None or lengths.cut <= CUT_TO_MEND:
        return lengths.seq_length
    wanted = -(-lengths.percentiles[99] // 8) * 8
    return max(min(wanted, limit or 512), lengths.seq_length)


def _domain_similarity(
    frozen: FrozenEncoder, examples: Examples, vectors: np.ndarray, reference: Sequence[str] | None, seed: int
) -> DomainSimilarity:
    """Compare with the reference, by the masked-LM head if there is one, else by a classifier."""
    name = "the given reference"
    if reference is None:
        language = language_of(examples.texts[:1000])
        reference = None if language is None else reference_texts(language)
        name = None if language is None else f"{len(reference)} sentences of plain prose ({language})"
    encoder = frozen.encoder
    if frozen.mlm is not None:
        ask = {"seq_length": encoder.seq_length, "seed": seed}
        own = pseudo_perplexity(frozen.mlm, encoder.preprocessor, examples, **ask)
        known = None if reference is None else pseudo_perplexity(frozen.mlm, encoder.preprocessor, reference, **ask)
        return DomainSimilarity(name, own, known)
    if reference is None or len(examples) < FEWEST_REFERENCE:
        return DomainSimilarity(name)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(reference))[:1000]
    known = frozen.vectors(Examples.from_lists([reference[row] for row in rows]))
    if examples.text_pairs is not None:
        # The reference are single texts, so the pairs are compared by their first ones.
        examples = Examples.from_lists(examples.texts[rng.permutation(len(examples))[:1000]].tolist())
        vectors = frozen.vectors(examples)
    return DomainSimilarity(name, distance=proxy_distance(vectors, known, seed))


def _command(
    examples: Examples,
    frozen: FrozenEncoder,
    recommendation: Recommendation,
    seq_length: int | None,
    options: Mapping[str, str],
) -> list[str]:
    """The `tl-keras train` call that does what is recommended."""
    chosen: dict[str, str | int | float] = {
        "train": examples.source if os.path.isfile(examples.source) else "FILE",
        **({} if examples.text_pairs is None else {"text-pair": "text_pair"}),
        "encoder": frozen.encoder.name,
        **options,
        "transfer": recommendation.transfer,
    }
    if recommendation.way != FEW_SHOT:
        chosen |= {"epochs": recommendation.epochs, "learning-rate": f"{recommendation.learning_rate:g}"}
    if seq_length is not None:
        chosen |= {"seq-length": seq_length, "pooling": frozen.pooling}
    chosen["out"] = f"runs/{recommendation.transfer}"
    command = ["tl-keras", "train", "text-classification"]
    for name, value in chosen.items():
        command += [f"--{name}", str(value)]
    return command
