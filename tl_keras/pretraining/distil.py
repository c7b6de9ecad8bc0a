"""Distillation: a student of fewer blocks learns to give the vectors of its teacher."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import keras
import numpy as np

from tl_keras.encoders.encoder_weights import EncoderWeights, MlmWeights
from tl_keras.errors import UserError
from tl_keras.pretraining.compress_report import write_distil_card
from tl_keras.pretraining.distil_batches import DistilBatch, DistilBatches, MaskedWordsHead
from tl_keras.pretraining.distil_model import Distiller, LossWeights, keep_blocks
from tl_keras.pretraining.loop import Intervals, TrainingLoop
from tl_keras.pretraining.run import PretrainingRun, can_plot
from tl_keras.pretraining.run_files import Means, Report, plot_losses
from tl_keras.pretraining.schedule import Schedule
from tl_keras.pretraining.settings import PretrainingSettings
from tl_keras.pretraining.token_files import open_token_files, prepare_token_files
from tl_keras.pretraining.vocabulary import SpecialTokens


@dataclass(frozen=True, kw_only=True)
class DistilSettings(PretrainingSettings):
    """The settings of a distillation: those of `PretrainingSettings`, and these.

    Attributes:
        teacher: name of the encoder to learn from.
        layers: the teacher's blocks, from 0, that the student begins as.
        seq_length: longest row, in tokens.
        prompts: pairs (prompt, fraction of the rows that begin with it).
        token, middle, text_vector, likeness, words, temperature: see `LossWeights`, whose `text` is `text_vector` here: `text` is a column.
        learn_embeddings: whether the embeddings learn as well.
        masked_rows, mask_fraction: fraction of the rows in which tokens are masked for the student, and of their tokens.
        weight_decay: of the optimizer.
    """

    kind = "distil"
    least: ClassVar[dict[str, int]] = {
        "batch_tokens": 1,
        "warmup_steps": 0,
        "checkpoint_steps": 1,
        "history_steps": 1,
        "heldout_steps": 1,
    }
    checked_later = ("layers",)

    teacher: str
    layers: tuple[int, ...] = ()
    seq_length: int = 256
    prompts: tuple[tuple[str, float], ...] = ()
    token: float = 1.0
    middle: float = 1.0
    text_vector: float = 2.0
    likeness: float = 0.5
    words: float = 0.1
    temperature: float = 0.05
    learn_embeddings: bool = False
    masked_rows: float = 0.5
    mask_fraction: float = 0.15
    weight_decay: float = 0.01
    batch_tokens: int = 1536
    peak_learning_rate: float = 1.2e-3
    warmup_steps: int = 50

    def __post_init__(self):
        super().__post_init__()
        if self.seq_length < 8:
            raise UserError("rows of fewer than 8 tokens hold too little to learn from; give a longer --seq-length")
        for name in ("masked_rows", "mask_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"--{name.replace('_', '-')} must lie between 0 and 1, not at {getattr(self, name)}")

    @property
    def row_lengths(self):
        """One length for the whole run."""
        return ((1.0, self.seq_length),)

    def as_dict(self) -> dict:
        """Plain values for `config.json`; what the teacher decides is not among them."""
        return {
            name: value for name, value in super().as_dict().items() if name not in {"vocab_size", "width", "dropout"}
        }


logger = logging.getLogger(__name__)


class Tokenizer(Protocol):
    """What turns texts into the teacher's ids."""

    vocabulary: list[str]
    lower_case: bool
    strip_accents: bool

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        ...


@dataclass(frozen=True)
class Teacher:
    """An encoder to learn from.

    Attributes:
        weights: of its network.
        tokenizer: its tokenizer, which the student takes over.
        special: ids of the special tokens.
        separators: how many end tokens stand between two segments.
        prompts: what it wants before texts, by name.
    """

    weights: EncoderWeights
    tokenizer: Tokenizer
    special: SpecialTokens
    separators: int = 1
    prompts: Mapping[str, str] = field(default_factory=dict)


class DistilTrainer(TrainingLoop):
    """Trains a `Distiller` on a `DistilBatches`'s batches; see `TrainingLoop`."""

    measures = heldout_measures = Distiller.measures + Distiller.word_measures

    def __init__(self, model: Distiller, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model = self.trained = model

    def train_on(self, batch, rate):
        """Take one step."""
        add_measures(self.means, self.model.train_on_batch(batch, rate), batch)
        return batch.tokens

    def measure_heldout(self, limit=None):
        """The distances on the held-out documents, which the student reads without masks; the words it finds in masked ones."""
        means = Means()
        for batch in self.heldout.once(self.schedule.longest, limit):
            measured = self.model.test_on_batch(batch)
            add_measures(means, {name: measured[name] for name in Distiller.measures}, batch)
        if self.model.head:
            for batch in replace(self.heldout, masked_rows=1.0).once(self.schedule.longest, limit):
                measured = self.model.test_on_batch(batch)
                add_measures(means, {name: measured[name] for name in Distiller.word_measures}, batch)
        return means.values()


def add_measures(means: Means, measured: Mapping[str, float], batch: DistilBatch) -> None:
    """Count a batch's figures by what they are means of: its tokens, or its masked words."""
    for name, value in measured.items():
        means.add(name, value, batch.masks if name in Distiller.word_measures else batch.tokens)


class Distillation(PretrainingRun):
    """One distillation: prepared on construction, trained by `run`; `student_weights` gives what came of it.

    Args:
        settings: what to do.
        teacher: whom to learn from.
        resume: go on from the checkpoint in `settings.out`.
        on_report: called after each step.
        command: the command line, for the model card.

    Raises:
        UserError: for whatever is wrong with files or options.
    """

    libraries = ("tl_keras", "keras", "numpy", "tensorflow", "tensorflow-text")
    settings: DistilSettings

    def __init__(
        self,
        settings: DistilSettings,
        teacher: Teacher,
        resume: bool = False,
        on_report: Callable[[Report], None] | None = None,
        command: str | None = None,
    ):
        super().__init__(settings, resume, command)
        positions = teacher.weights.max_length
        if settings.seq_length > positions:
            raise UserError(f"--seq-length {settings.seq_length}, but the encoder has {positions} positions")
        schedule = Schedule.of(settings)
        self.folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(settings.seed)
        folder = self.folder / "tokens"
        if resume:
            self.tokens = open_token_files(folder)
        else:
            how = {"heldout_fraction": settings.heldout_fraction, "seed": settings.seed}
            self.tokens = prepare_token_files(folder, self.scan_corpora(), teacher.tokenizer, **how)
        if self.tokens.vocabulary != teacher.tokenizer.vocabulary:
            raise UserError(f"the token files in {folder} were written with another vocabulary than the encoder has")
        batches = self._batches(self.tokens.train, teacher, settings.masked_rows)
        batches.check(settings.seq_length)
        weights = ("token", "middle", "text_vector", "likeness", "words", "temperature")
        loss = LossWeights(*(getattr(settings, name) for name in weights))
        student = keep_blocks(teacher.weights, settings.layers)
        head = None
        if settings.masked_rows:
            counts = np.bincount(self.tokens.train.tokens, minlength=student.vocabulary_size)
            head = MaskedWordsHead(student, counts, settings.seed)
        self.model = Distiller(
            teacher.weights, student, settings.layers, loss, settings.learn_embeddings, settings.weight_decay, head
        )
        self.trainer = DistilTrainer(
            self.model,
            batches,
            self._batches(self.tokens.heldout, teacher, 0.0),
            schedule,
            self.folder,
            Intervals.of(settings),
            on_report,
        )
        self.model.measure_variances(self.trainer.heldout.once(settings.seq_length, 16))
        shape = {"blocks": student.num_layers, "width": student.width, "vocabulary_size": student.vocabulary_size}
        self.begin(resume, {"corpora": self.tokens.meta, "shape": shape})

    @property
    def finished(self) -> bool:
        """Whether the end of the run has been reached."""
        return self.trainer.schedule.done(self.trainer.step, self.trainer.seconds)

    def student_weights(self) -> EncoderWeights:
        """The student as it is now."""
        return self.model.student_weights()

    def mlm_weights(self) -> MlmWeights | None:
        """The masked-LM head as it is now; none where no words were masked."""
        return self.model.head and self.model.head.weights()

    def write_card(self):
        """Write `model_card.md` and `plots/loss.png`."""
        if can_plot():
            losses = {"token_loss": "tokens", "middle_loss": "blocks before", "text_loss": "texts"}
            plot_losses(self.folder, losses, "tokens", "fraction of variance left", shared=True)
        write_distil_card(self.folder)

    def _batches(self, part, teacher: Teacher, masked_rows: float) -> DistilBatches:
        prompts = [
            (fraction, teacher.tokenizer.encode([prompt])[0]) for prompt, fraction in self.settings.prompts if prompt
        ]
        return DistilBatches(
            part,
            teacher.special,
            prompts,
            teacher.separators,
            masked_rows=masked_rows,
            mask_fraction=self.settings.mask_fraction,
            token_budget=self.settings.batch_tokens,
            seed=self.settings.seed,
        )
