"""A pre-trained encoder: its layer for models, its batches for `fit`."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.data.tagging import TaggedExamples
from tl_keras.encoders.blocks import find_parts
from tl_keras.encoders.encoder_layer import HubEncoderLayer
from tl_keras.encoders.offset_tokenizer import offset_tokenizer
from tl_keras.encoders.resolve import read_suggestions
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.text.offsets import OffsetTokenizer
from tl_keras.text.pair_batches import pair_batches
from tl_keras.text.preprocessor import Preprocessor, TextReport, text_report, trim
from tl_keras.text.tagging_batches import tagging_batches
from tl_keras.text.text_batches import (
    POOL_BATCHES,
    finish_batches,
    pack_texts,
    string_batches,
    token_batches,
    with_labels,
)

logger = logging.getLogger(__name__)


def require_encoder(value) -> None:
    """Refuse what is no encoder.

    Raises:
        UserError: it is something else, perhaps a handle that was not loaded.
    """
    if not isinstance(value, Encoder):
        raise UserError(f"encoder must come from load_encoder(...), not be a {type(value).__name__}.")


class Encoder:
    """A pre-trained encoder pair: what turns strings into ids, and ids into vectors.

    Make it with `load_encoder`. Nothing heavy is loaded before it is needed; the layer is loaded when a model is built, so build
    models inside `strategy.scope()`.

    Args:
        folder: the encoder's SavedModel.
        preprocessor_folder: the preprocessing SavedModel, or None for a text embedding module (strings in, vectors out).
        seq_length: longest input in tokens, special tokens included.
        name: how the user called it.
        layers: use the first so many blocks only; None for all.
    """

    default_recurrent: str | None = None
    """The recurrent network that builders put behind it, where none is named: an encoder in TF Hub's format reads the whole text."""
    default_pooling: str | None = None
    """How a text's vector is made where there is no `pooled_output`."""
    contextual = None
    """An ELMo model whose vectors are joined to its own."""

    def __init__(
        self,
        folder: str,
        preprocessor_folder: str | None,
        seq_length: int = 128,
        name: str | None = None,
        layers: int | None = None,
    ):
        if isinstance(seq_length, str) or seq_length < 3:
            raise UserError(f"seq_length must be a number, at least 3 ([CLS], one token, [SEP]), not {seq_length!r}.")
        self.folder = str(folder)
        self.preprocessor_folder = None if preprocessor_folder is None else str(preprocessor_folder)
        self.seq_length = seq_length
        self.name = name or self.folder
        self.layers = layers
        if layers is not None:
            # Refused here already, before anything heavy is loaded.
            find_parts(self.folder, 0, layers)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, seq_length={self.seq_length})"

    def __getstate__(self) -> dict:
        """What a pickle holds: where the encoder is and how it is used; what was loaded of it is loaded again when it is needed."""
        loaded = {n for n in self.__dict__ if isinstance(getattr(type(self), n, None), functools.cached_property)}
        return {name: value for name, value in self.__dict__.items() if name not in loaded}

    def __deepcopy__(self, memo: dict) -> Encoder:
        """Itself: scikit-learn copies a pipeline's parameters for each fit, and the encoder that was loaded is to serve all."""
        return self

    @classmethod
    def from_layer(cls, layer: HubEncoderLayer) -> Encoder:
        """The encoder whose layer this is."""
        return cls(layer.encoder_folder, layer.preprocessor_folder, layer.seq_length, layers=layer.layers_kept)

    @property
    def takes_text(self) -> bool:
        """Whether this is a text embedding module: strings in, no tokenizing outside."""
        return self.preprocessor_folder is None

    @functools.cached_property
    def suggested(self) -> dict:
        """What its makers found to work; what they did not say is left out.

        `pooling`, the peak `learning_rate` of fine-tuning, whether to `whiten` the vectors of texts before training on their similarity,
        and the `lexical_weight` of a search without training. It stands in `info.json` beside `encoder/` and `preprocess/`.
        """
        return read_suggestions(self.folder)

    @functools.cached_property
    def preprocessor(self) -> Preprocessor:
        """The loaded preprocessing module.

        Raises:
            UserError: a text embedding module has none.
        """
        if self.preprocessor_folder is None:
            raise UserError(f"{self.name} is a text embedding module: it tokenizes inside and shows no token ids.")
        return Preprocessor(self.preprocessor_folder)

    @functools.cached_property
    def offset_tokenizer(self) -> OffsetTokenizer:
        """The tokenizer that also tells where in the text each token stands, in characters.

        Raises:
            UserError: the preprocessing module gives no offsets and its tokenizer could not be rebuilt.
        """
        return offset_tokenizer(self.preprocessor, self.folder)

    def layer(self, trainable: bool | str | Transfer = False, name: str = "encoder") -> HubEncoderLayer:
        """Load the encoder as a Keras layer, in the active `tf.distribute` scope.

        Args:
            trainable: whether its weights learn, or which: a way of transfer. A frozen encoder also runs without dropout.
            name: of the layer.

        Raises:
            UserError: `seq_length` is more than the encoder has positions for, or its blocks do not allow this way of transfer.
        """
        if isinstance(trainable, bool):
            trainable = Transfer("fine-tune" if trainable else "freeze")
        layer = HubEncoderLayer(
            self.folder,
            preprocessor=self.preprocessor_folder,
            seq_length=self.seq_length,
            transfer=trainable,
            layers=self.layers,
            name=name,
        )
        limit = layer.position_limit
        if limit is not None and self.seq_length > limit:
            raise UserError(
                f"seq_length={self.seq_length}, but {self.name} has vectors for {limit} positions only; choose at most {limit}."
            )
        return layer

    def inputs(self) -> dict[str, keras.KerasTensor] | keras.KerasTensor:
        """Symbolic inputs for a functional model: int32 `[batch, length]` by name, or string `[batch]`."""
        if self.takes_text:
            return keras.Input(shape=(), dtype="string", name="text")
        # Not every module packs the same three tensors, so ask this one.
        packed = self.preprocessor.pack([self.preprocessor.tokenize(tf.constant(["a"]))], self.seq_length)
        return {name: keras.Input(shape=(None,), dtype="int32", name=name) for name in packed}

    def string_inputs(self, role: str | None = "query") -> Callable[..., dict[str, tf.Tensor] | tf.Tensor]:
        """A function for use in graphs: one or two texts, string `[batch]` each, read together -> what the encoder takes.

        Args:
            role: which prompt is put before the texts; see `Preprocessor.tokenize`.
        """
        if self.takes_text:
            return lambda text: text
        preprocessor = self.preprocessor  # loaded before there is a graph

        def inputs(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
            return trim(preprocessor.pack([preprocessor.tokenize(text, role) for text in texts], self.seq_length))

        return inputs

    def outputs(self, transfer: bool | str | Transfer) -> tuple:
        """Symbolic inputs, and what the encoder makes of them.

        Args:
            transfer: what learns.

        Returns:
            `(inputs, outputs)`: those of `inputs()`, and tensors by name, or one tensor.
        """
        inputs = self.inputs()
        return inputs, self.layer(transfer)(inputs)

    def adapt(self, texts: Sequence[str]) -> Encoder:
        """This encoder, made ready for texts to train on: only one of word vectors is another then."""
        return self

    def batches(
        self,
        examples: Examples | Sequence[str],
        *,
        training: bool = False,
        batch_size: int = 32,
        seed: int = 0,
        fixed_length: bool = False,
        drop_remainder: bool = False,
        weights: np.ndarray | None = None,
    ) -> tf.data.Dataset:
        """Batches of `examples` for `fit`, `evaluate` and `predict`; see `tl_keras.text.text_batches.token_batches`.

        For training it logs once what tokenizing loses: as a warning if that is much, else as information.

        Args:
            examples: from a reader, or a list of strings.
            training: shuffle and bucket by length; otherwise the order is kept.
            batch_size: texts in a batch.
            seed: of the shuffling.
            fixed_length: pad to `seq_length` always, for TPUs.
            drop_remainder: leave the last, smaller batch out.
            weights: float `[n]`, how much each text counts in the loss.
        """
        if not isinstance(examples, Examples):
            examples = Examples.from_lists(examples)
        common = {"batch_size": batch_size, "training": training, "seed": seed}
        common |= {"drop_remainder": drop_remainder, "weights": weights}
        if self.takes_text:
            return string_batches(examples, **common)
        if training:
            report = self.report(examples)
            logger.log(logging.WARNING if report.worrying else logging.INFO, "%s: %s", examples.source, report)
        return token_batches(
            examples, self.preprocessor, seq_length=self.seq_length, fixed_length=fixed_length, **common
        )

    def batches_of_strings(
        self, dataset: tf.data.Dataset, *, batched: bool, batch_size: int = 32, training: bool = False, seed: int = 0
    ) -> tf.data.Dataset:
        """Batches of a dataset of strings, which is read as it flows; what `batches` does for examples in memory.

        Args:
            dataset: of dicts: `text`, and perhaps `text_pair`, `labels` and `weights`.
            batched: whether its elements are batches already, which are kept; else single texts.
            batch_size: texts in a batch, of single ones.
            training: of single texts, put those of like length together. The order is the dataset's own otherwise.
            seed: of the order of such batches.
        """
        texts = int(dataset.cardinality())
        bucket = batch_size if training and not batched and not self.takes_text else None
        if not batched:
            dataset = dataset.batch(batch_size * (POOL_BATCHES if bucket else 1))
        if self.takes_text:
            dataset = dataset.map(lambda batch: with_labels(batch["text"], batch))
        else:
            dataset = pack_texts(dataset, self.preprocessor, self.seq_length, bucket=bucket, seed=seed)
        if batched or texts < 0:
            return dataset.prefetch(tf.data.AUTOTUNE)
        return finish_batches(dataset, texts, batch_size, drop_remainder=False)

    def tagging_batches(
        self, examples: TaggedExamples, *, training: bool = False, batch_size: int = 32, seed: int = 0, **options
    ) -> tf.data.Dataset:
        """Batches of tagged texts for `token_classifier`; see `tl_keras.text.tagging_batches.tagging_batches`.

        Args:
            examples: from `read_tagged` or `TaggedExamples.from_...`.
            training: shuffle and bucket by length; otherwise the order is kept.
            batch_size: windows in a batch; a text that fits in `seq_length` is one window.
            seed: of the shuffling.
            **options: `tag_set`, `overlap`, `fixed_length`, `drop_remainder`.
        """
        common = {"batch_size": batch_size, "training": training, "seed": seed, **options}
        return tagging_batches(examples, self.offset_tokenizer, self.preprocessor, seq_length=self.seq_length, **common)

    def pair_batches(
        self, examples: Examples, *, training: bool = False, batch_size: int = 32, seed: int = 0, **options
    ) -> tf.data.Dataset:
        """Batches of two texts side by side, for `bi_encoder`; see `tl_keras.text.pair_batches.pair_batches`.

        Args:
            examples: pairs: scored ones, or questions and documents.
            training: shuffle and bucket by length; otherwise the order is kept.
            batch_size: pairs in a batch.
            seed: of the shuffling.
            **options: `fixed_length`, `drop_remainder`.
        """
        preprocessor = None if self.takes_text else self.preprocessor
        common = {"batch_size": batch_size, "training": training, "seed": seed, **options}
        return pair_batches(examples, preprocessor, seq_length=self.seq_length, **common)

    def report(self, examples: Examples) -> TextReport:
        """What tokenizing these texts for this encoder loses (from a sample of 2,000); of examples or a list of strings."""
        examples = examples if isinstance(examples, Examples) else Examples.from_lists(examples)
        return text_report(examples, self.preprocessor, self.seq_length)
