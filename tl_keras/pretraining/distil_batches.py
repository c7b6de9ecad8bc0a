"""What a student reads while it is distilled, some tokens masked, and the masked-LM head that learns beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import MLM_HEAD, EncoderWeights, MlmWeights
from tl_keras.encoders.operations import masked_word_logits
from tl_keras.encoders.pair_encoder import Network
from tl_keras.errors import UserError
from tl_keras.pretraining.batches import Place, WindowedBatches
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.vocabulary import SpecialTokens

BEGIN, END, BREAK, PROMPT = range(4)
"""Columns of a plan: the row is tokens[BEGIN:END], a second segment begins at BREAK (END: there is none)."""


@dataclass(frozen=True)
class DistilBatch:
    """A batch for teacher and student.

    Attributes:
        token_ids: int32 `[rows, length]`, what the teacher reads.
        masked_ids: int32 `[rows, length]`, what the student reads: the same with some tokens masked.
        padding_mask: int32 `[rows, length]`.
        tokens: tokens that are no padding.
        masks: tokens that are masked.
    """

    token_ids: np.ndarray
    masked_ids: np.ndarray
    padding_mask: np.ndarray
    tokens: int
    masks: int


@dataclass(frozen=True)
class DistilBatches(WindowedBatches):
    """Makes the batches of a token file; the rows of a window are shuffled and put together with others of like length.

    Attributes:
        part: the token file.
        special: ids that frame a row.
        prompts: pairs (fraction of the rows, ids that stand before the text); what is missing to 1 has none.
        separators: how many end tokens stand between two segments.
        pair_fraction: fraction of the rows of several sentences that are two segments.
        long_fraction: fraction of the rows that go on beyond one sentence, where the document does.
        masked_rows: fraction of the rows in which tokens are masked for the student.
        mask_fraction: fraction of the tokens of such a row.
        token_budget: tokens in a batch, padding included.
        seed: where chance begins.
    """

    part: TokenFile
    special: SpecialTokens
    prompts: Sequence[tuple[float, Sequence[int]]] = ()
    separators: int = 1
    pair_fraction: float = 0.15
    long_fraction: float = 0.5
    masked_rows: float = 0.0
    mask_fraction: float = 0.15
    token_budget: int = 2048
    seed: int = 0

    def check(self, max_length: int) -> None:
        """Refuse a corpus or options that give no batch.

        Raises:
            UserError: with the reason.
        """
        if self.token_budget < max_length:
            raise UserError(f"--batch-tokens {self.token_budget} is less than one row of --seq-length {max_length}")
        if not self.part.token_count:
            raise UserError("the texts to distil on hold no token")

    def window_plans(self, place: Place) -> list[tuple[int, np.ndarray]]:
        """The batches of a window, as (padded length, plan rows), in training order."""
        rng = np.random.default_rng([self.seed, place.epoch, place.window])
        rows = self._rows(self.window_documents(place), place.max_length, rng)
        lengths = self._framed_lengths(rows)
        # Shuffled before it is sorted, so that rows of one length do not always meet the same others.
        order = rng.permutation(len(rows))
        order = order[np.argsort(lengths[order], kind="stable")]
        plans, start = [], 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= self.token_budget:
                stop += 1
            chosen = order[start:stop]
            plans.append((int(lengths[chosen[-1]]), rows[chosen]))
            start = stop
        return [plans[index] for index in rng.permutation(len(plans))]

    def realise(self, length: int, rows: np.ndarray, seed: list[int]) -> DistilBatch:
        """Fill in the ids, and mask some of them for the student."""
        rng = np.random.default_rng([*seed, 1])
        special, tokens = self.special, self.part.tokens
        ids = np.full((len(rows), length), special.padding, np.int32)
        mask = np.zeros((len(rows), length), np.int32)
        text = np.zeros((len(rows), length), bool)
        for row, (begin, end, cut, prompt) in enumerate(rows):
            prefix = self.prompts[prompt][1] if prompt >= 0 else []
            first, second = tokens[begin:cut].tolist(), tokens[cut:end].tolist()
            middle = [special.end] * self.separators if second else []
            filled = [special.start, *prefix, *first, *middle, *second, special.end]
            ids[row, : len(filled)], mask[row, : len(filled)] = filled, 1
            text[row, 1 + len(prefix) : len(filled) - 1] = True
        chosen = text & (rng.random(ids.shape) < self.mask_fraction) & (rng.random((len(rows), 1)) < self.masked_rows)
        masked = np.where(chosen, special.mask, ids)
        return DistilBatch(ids, masked, mask, int(mask.sum()), int((masked != ids).sum()))

    def _framed_lengths(self, rows: np.ndarray) -> np.ndarray:
        prefix = np.asarray([*(len(ids) for _, ids in self.prompts), 0])
        paired = rows[:, BREAK] < rows[:, END]
        return rows[:, END] - rows[:, BEGIN] + 2 + prefix[rows[:, PROMPT]] + self.separators * paired

    def _rows(self, documents: np.ndarray, max_length: int, rng: np.random.Generator) -> np.ndarray:
        """Cut documents into rows, each of one sentence or of several that follow one another.

        Returns:
            int64 `[rows, 4]`: begin, end, begin of the second segment (or the end), number of the prompt (-1: none).
        """
        room = max_length - 2 - self.separators - max((len(ids) for _, ids in self.prompts), default=0)
        rows = []
        for document in documents:
            bounds = np.asarray(
                self.part.sentences[self.part.documents[document] : self.part.documents[document + 1] + 1]
            )
            count, start = len(bounds) - 1, 0
            while start < count:
                stop, target = start + 1, 0
                if start + 1 < count and rng.random() < self.long_fraction:
                    target = int(rng.integers(16, room + 1))
                while stop < count and bounds[stop + 1] - bounds[start] <= target:
                    stop += 1
                begin, end = int(bounds[start]), min(int(bounds[stop]), int(bounds[start]) + room)
                cut = end
                if stop - start > 1 and rng.random() < self.pair_fraction:
                    cut = min(int(bounds[rng.integers(start + 1, stop)]), end)
                rows.append((begin, end, cut, self._prompt(rng)))
                start = stop
        return np.asarray(rows, np.int64).reshape(-1, 4)

    def _prompt(self, rng: np.random.Generator) -> int:
        drawn = rng.random()
        for number, (fraction, _) in enumerate(self.prompts):
            if drawn < fraction:
                return number
            drawn -= fraction
        return -1


class MaskedWordsHead:
    """A dense layer, a layer normalisation and a bias over the vocabulary, which score with the word embeddings.

    Args:
        encoder: the weights that it stands on: their width, their embeddings' width, their activation.
        frequencies: how often each token occurs, int `[vocabulary]`. The bias begins at the logarithm, so that the head
            need not first learn which tokens are frequent.
        seed: of the dense layer's first values.
    """

    def __init__(self, encoder: EncoderWeights, frequencies: np.ndarray, seed: int = 0):
        size, width = encoder.arrays["word_embeddings/embeddings"].shape[1], encoder.width
        self._weights, self.epsilon = encoder, encoder.epsilon
        kernel = np.random.default_rng(seed).normal(size=(width, size)) * width**-0.5
        arrays = {
            "transform/dense/kernel": kernel,
            "transform/dense/bias": np.zeros(size),
            "transform/LayerNorm/gamma": np.ones(size),
            "transform/LayerNorm/beta": np.zeros(size),
            "output_bias/bias": np.log((frequencies + 1) / (frequencies + 1).sum()),
        }
        self._arrays = {
            f"{MLM_HEAD}/{name}": tf.Variable(array, dtype=tf.float32, name=name) for name, array in arrays.items()
        }

    @property
    def variables(self) -> list[tf.Variable]:
        """What learns."""
        return list(self._arrays.values())

    def losses(self, network: Network, outputs: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean cross-entropy in nats, and the fraction that is right; both 0 without any mask.

        Args:
            network: what gave the outputs; its embeddings score.
            outputs: float32 `[masks, width]`.
            wanted: int32 `[masks]`, the tokens that were masked.

        Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section 3.1.
        """
        arrays = {**network.arrays, **self._arrays}
        logits = masked_word_logits(arrays, outputs, self._weights.activation, self.epsilon)
        entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits)
        right = tf.cast(tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), wanted), tf.float32)
        count = tf.cast(tf.size(wanted), tf.float32)
        return (
            tf.math.divide_no_nan(tf.reduce_sum(entropies), count),
            tf.math.divide_no_nan(tf.reduce_sum(right), count),
        )

    def weights(self) -> MlmWeights:
        """The head as it is now."""
        arrays = {name: np.asarray(variable) for name, variable in self._arrays.items()}
        return MlmWeights(arrays, self.epsilon, self._weights.activation)
