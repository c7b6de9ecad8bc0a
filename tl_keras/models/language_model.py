"""Causal language models of KerasHub: loading one, and its batches."""

from __future__ import annotations

import dataclasses
import logging
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras, require_keras_3
from tl_keras.data.examples import Examples, row_numbers
from tl_keras.errors import UserError
from tl_keras.text.text_batches import make_batches

logger = logging.getLogger(__name__)

PRESET = "preset"
"""The folder inside a run that KerasHub reads."""


@dataclasses.dataclass(eq=False)
class LanguageModel:
    """A causal language model: a network that predicts the next token, and its tokenizer.

    Args:
        network: a `keras_hub.models.CausalLM` with a preprocessor.
        name: for messages and reports.
    """

    network: Any
    name: str = "language model"

    @property
    def tokenizer(self):
        """A `keras_hub.tokenizers.Tokenizer`."""
        return self.network.preprocessor.tokenizer

    @property
    def max_length(self) -> int:
        """The longest text it can read and write, in tokens, those at its ends included."""
        positions = getattr(self.network.backbone, "max_sequence_length", None)
        return int(positions or self.network.preprocessor.sequence_length)

    @property
    def start(self) -> list[int]:
        """Ids that every text begins with."""
        return [self.tokenizer.start_token_id] if self.network.preprocessor.add_start_token else []

    def encode(self, texts) -> list[np.ndarray]:
        """Ids of each text, int32, without those at its ends; tokenized in the graph, as the export does."""
        step, found = 1024, []
        for first in range(0, len(texts), step):
            ragged = self._tokenize(tf.constant([str(text) for text in texts[first : first + step]]))
            found += np.split(ragged.flat_values.numpy(), ragged.row_splits.numpy()[1:-1])
        return found

    def __post_init__(self):
        spec = tf.TensorSpec([None], tf.string)
        self._tokenize = tf.function(lambda texts: self.tokenizer.tokenize(texts), input_signature=[spec])

    def batches(
        self,
        examples: Examples,
        *,
        seq_length: int | None = None,
        batch_size: int = 32,
        training: bool = False,
        seed: int = 0,
        numbered: bool = False,
    ) -> tf.data.Dataset:
        """Batches for `fit`: each token is to be predicted from those before it.

        A text longer than a row goes on in the next row. Of a pair, the first text is the prompt and the second its completion: the
        loss counts the completion alone, and what does not fit into a row is cut.

        Args:
            examples: `n` texts, or prompts with completions.
            seq_length: tokens of a row; by default as many as the model can read.
            batch_size: rows in a batch.
            training: shuffle, and put rows of like length together.
            seed: of the shuffling.
            numbered: row numbers in the place of the ids to predict; see `row_finder`.

        Returns:
            A dataset of `(inputs, targets, weights)`: inputs `token_ids` and `padding_mask`, int32 `[batch, length]`; targets int32
            and weights float32 of the same shape. Its cardinality is known.

        Raises:
            UserError: there is nothing to learn from, or a prompt leaves no room for its completion.
        """
        ids, weights, numbers = self._rows(examples, seq_length or self.max_length)
        rows = {"segments": (tf.ragged.constant(ids, tf.int32),), "weights": tf.ragged.constant(weights, tf.float32)}

        def pack(rows):
            tokens, counts = rows["segments"][0], rows["weights"].to_tensor()
            mask = tf.sequence_mask(tokens.row_lengths() - 1, dtype=tf.int32)
            dense = tokens.to_tensor()
            inputs = {"token_ids": dense[:, :-1], "padding_mask": mask}
            return inputs, (rows["numbers"] if numbered else dense[:, 1:]), counts

        how = {"batch_size": batch_size, "training": training, "seed": seed}
        return make_batches({**rows, "numbers": numbers}, pack, bucket=max(map(len, ids)), **how)

    def _rows(self, examples: Examples, length: int) -> tuple[list, list, np.ndarray]:
        """Rows of at most `length` + 1 ids, the weight of each prediction in them, and the example that each row is of."""
        end, start = [self.tokenizer.end_token_id], self.start
        texts = self.encode(examples.texts)
        pairs = None if examples.text_pairs is None else self.encode(examples.text_pairs)
        rows, weights, numbers, cut = [], [], [], 0
        for example, number in enumerate(row_numbers(examples)):
            first = [*start, *texts[example]]
            tokens = [*first, *([] if pairs is None else pairs[example]), *end]
            before = 0 if pairs is None else len(first)
            if pairs is not None:
                cut += len(tokens) > length + 1
                if before > length or not before:
                    raise UserError(
                        f"{examples.source}, example {number + 1}: its prompt has {before} tokens, which leaves no room for a completion "
                        f"in {length}; shorten it, or give a larger seq_length (--seq-length)."
                    )
                tokens = tokens[: length + 1]
            for begin in range(0, len(tokens) - 1, length):
                row = tokens[begin : begin + length + 1]
                rows.append(row)
                weights.append([float(begin + place >= before) for place in range(1, len(row))])
                numbers.append(number)
        if cut:
            logger.info(
                "%s: %d of %d pairs are longer than %d tokens and are cut.", examples.source, cut, len(texts), length
            )
        if not rows:
            raise UserError(f"{examples.source} holds no text to learn from.")
        return rows, weights, np.array(numbers)

    @classmethod
    def of(cls, model: keras.Model) -> LanguageModel:
        """The language model inside a model of `text_generator`.

        Raises:
            UserError: it is none.
        """
        if model not in _LANGUAGE_MODELS:
            raise UserError(f"the model {model.name!r} generates no text: build it with text_generator(...).")
        return _LANGUAGE_MODELS[model]


_LANGUAGE_MODELS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def register_generator(model: keras.Model, language_model: LanguageModel) -> None:
    """Note which language model a model of `text_generator` is made of, as long as it lives."""
    _LANGUAGE_MODELS[model] = language_model


def is_generator(model) -> bool:
    """Whether a model is one of `text_generator`."""
    return isinstance(model, keras.Model) and model in _LANGUAGE_MODELS


def load_language_model(handle: str | Path) -> LanguageModel:
    """Load a causal language model that KerasHub reads.

    Args:
        handle: a run of `tl-keras pretrain gpt` or `train text-generation`; a folder with a KerasHub preset or a Hugging Face
            checkpoint; or a preset name such as `gpt2_base_en`, which KerasHub downloads.

    Raises:
        UserError: Keras 2 is active, KerasHub is not installed, or it cannot read this as a causal language model.
    """
    require_keras_3("a causal language model")
    try:
        import keras_hub
    except ImportError as error:
        raise UserError("a causal language model needs KerasHub: pip install 'tl_keras[convert]'.") from error
    folder = Path(handle)
    if (folder / PRESET).is_dir():
        folder = folder / PRESET
    if folder.exists() and not (folder / "config.json").is_file():
        raise UserError(
            f"{handle} holds no causal language model: neither {PRESET}/ of a run nor a config.json is there."
        )
    try:
        network = keras_hub.models.CausalLM.from_preset(str(folder) if folder.exists() else str(handle))
    except Exception as error:  # KerasHub raises whatever its readers and downloads do
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"KerasHub cannot read {handle} as a causal language model ({reason}); give a folder with one, a run of tl-keras pretrain "
            "gpt, or a preset name such as gpt2_base_en."
        ) from error
    if network.preprocessor is None:
        raise UserError(f"{handle} has no tokenizer; a causal language model needs the one that it was trained with.")
    return LanguageModel(network, Path(handle).name)


def save_preset(language_model: LanguageModel, folder: str | Path) -> None:
    """Write network and tokenizer as a KerasHub preset, which `load_language_model` reads."""
    language_model.network.save_to_preset(str(folder))
