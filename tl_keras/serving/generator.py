"""Texts that go on from prompts: the predictor; its graph stands in `generation_graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.given import check_texts, index_of, string_array
from tl_keras.errors import UserError
from tl_keras.evaluation.classification import PerplexityReport
from tl_keras.options import check_ranges
from tl_keras.serving.predictor import Predictor

if TYPE_CHECKING:
    from tl_keras.serving.served_model import ServedModel


class TextGenerator(Predictor):
    """What writes texts.

    Args:
        module: see `generation_module`.
    """

    task = "text-generation"

    def __init__(self, module):
        self.module = module
        self.max_length = int(module.context_length())
        """The longest prompt and text together, in tokens."""

    @classmethod
    def of_model(cls, served: ServedModel) -> TextGenerator:
        """That of a model of `text_generator`; its graph is that of the export."""
        from tl_keras.serving.generation_graph import generation_module  # needs Keras, which is there with the model

        return cls(served.once("module", lambda: generation_module(served.head)))

    @classmethod
    def of_export(cls, module, folder: str) -> TextGenerator:
        """That of an export."""
        return cls(module)

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """See `generation_module`."""
        return self.module, {"serving_default": self.module.serve, "losses": self.module.losses}

    def frame(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> pd.DataFrame:
        """What `generate` gives for prompts.

        Raises:
            UserError: pairs.
        """
        if text_pairs is not None:
            raise UserError("a language model takes prompts, not pairs of texts.")
        return self.generate(texts, batch_size=batch_size)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_length: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 64,
    ) -> pd.DataFrame:
        """Go on from prompts.

        Args:
            prompts: `n` strings; from an empty one a text begins.
            max_length: tokens of prompt and text together, at most; by default as many as the model can write.
            temperature: below 1 likely tokens become likelier, above 1 less so; 0 takes the likeliest each time.
            top_k: choose among so many of the likeliest tokens; 0 for all.
            top_p: choose among the likeliest tokens that have this probability together; 1 for all.
            seed: of chance; prompt number i gets `seed` + i, so that equal prompts give different texts.
            stop: strings before which a text ends.
            batch_size: prompts at once.

        Returns:
            A DataFrame: `prompt`, `text` (what follows the prompt) and `tokens` (how many were written).

        Raises:
            UserError: a setting is out of range, or a prompt leaves no room.
        """
        check_texts(prompts, "prompts")
        check_ranges({"batch_size": batch_size})
        index, prompts = index_of(prompts), string_array(list(prompts), "prompts").tolist()
        limit = self._check(prompts, max_length, temperature, top_k, top_p)
        texts, tokens = [], []
        for first in range(0, len(prompts), batch_size):
            some = prompts[first : first + batch_size]
            settings = _settings(temperature, top_k, top_p, seed + first + np.arange(len(some)))
            out = self.module.serve(tf.constant(some), tf.constant([limit]), *settings)
            texts += [_cut(text.decode("utf-8", "replace"), stop) for text in out["text"].numpy()]
            tokens += out["tokens"].numpy().tolist()
        frame = pd.DataFrame({"prompt": pd.Series(prompts, dtype=object), "text": texts, "tokens": tokens})
        return frame if index is None else frame.set_axis(index)

    def stream(
        self,
        prompt: str,
        *,
        max_length: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """Go on from a prompt, and give the text bit by bit, as it is written: together what `generate` gives.

        Args:
            prompt: what to go on from.
            max_length: tokens of prompt and text together, at most.
            temperature: as for `generate`.
            top_k: as for `generate`.
            top_p: as for `generate`.
            seed: as for `generate`.
            stop: as for `generate`.
        """
        limit = self._check([prompt], max_length, temperature, top_k, top_p)
        settings = _settings(temperature, top_k, top_p, np.array([seed]))
        ids, given, cache = self.module.begin(tf.constant([prompt]), tf.constant([limit]))
        first = int(tf.reduce_sum(tf.cast(given, tf.int32)))
        shown, longest = 0, max(map(len, stop), default=1) - 1
        for index in range(first, limit):
            ids, cache, ended = self.module.step(ids, cache, tf.constant(index), *settings)
            last = bool(ended) or index + 1 == limit
            written = tf.sequence_mask([index + 1], tf.shape(ids)[1])
            text = self.module.decode(ids, given, written).numpy()[0].decode("utf-8", "replace")
            cut = _cut(text, stop)
            stopped = len(cut) < len(text)
            if not stopped and not last:
                # The last character may be half written, and the last few may be the beginning of a stop.
                cut = cut.rstrip("\ufffd")
                cut = cut[: max(len(cut) - longest, shown)]
            if len(cut) > shown:
                yield cut[shown:]
                shown = len(cut)
            if last or stopped:
                return

    def perplexity(
        self, texts: Sequence[str], completions: Sequence[str] | None = None, batch_size: int = 32
    ) -> PerplexityReport:
        """How surprising texts are to the model; of texts that are too long, the beginning counts.

        Args:
            texts: `n` strings.
            completions: `n` strings; the texts are then their prompts, and not counted.
            batch_size: texts at once.
        """
        prompts, texts = ([""] * len(texts), texts) if completions is None else (texts, completions)
        rows, loss, tokens = list(zip(prompts, texts, strict=True)), 0.0, 0
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        for first in range(0, len(rows), batch_size):
            some = rows[first : first + batch_size]
            out = self.module.losses(*(tf.constant([row[part] for row in some]) for part in (1, 0)))
            loss += float(tf.reduce_sum(tf.cast(out["loss"], tf.float64)))
            tokens += int(tf.reduce_sum(out["tokens"]))
        return PerplexityReport(loss / max(tokens, 1), tokens, len(rows))

    def _check(self, prompts: Sequence[str], max_length, temperature, top_k, top_p) -> int:
        """The length that holds, in tokens; refuses settings out of range."""
        if max_length is not None and not 1 <= max_length <= self.max_length:
            raise UserError(
                f"max_length must lie between 1 and {self.max_length}, the most tokens this model can read and write, not at {max_length}."
            )
        check_sampling(temperature, top_k, top_p)
        limit = max_length or self.max_length
        if prompts:
            lengths = self.module.prompt_lengths(tf.constant(prompts)).numpy()
            worst = int(lengths.argmax())
            if lengths[worst] >= limit:
                raise UserError(
                    f"prompt {worst + 1} ({prompts[worst][:40]!r}) has {lengths[worst]} tokens, which leaves no room for a text in "
                    f"max_length {limit}; shorten it"
                    + (", or give a larger max_length." if limit < self.max_length else ".")
                )
        return limit


def check_sampling(temperature: float, top_k: int, top_p: float) -> None:
    """Refuse settings that choose nothing.

    Raises:
        UserError: with the setting and what it may be.
    """
    if not 0.0 <= temperature < float("inf"):
        raise UserError(
            f"the temperature must be at least 0 (0 takes the likeliest token each time), not {temperature}."
        )
    if top_k < 0:
        raise UserError(f"top_k must be at least 0 (0 chooses among all tokens), not {top_k}.")
    if not 0.0 < top_p <= 1.0:
        raise UserError(f"top_p must be above 0 and at most 1 (1 chooses among all tokens), not {top_p}.")


def _settings(temperature: float, top_k: int, top_p: float, seeds: np.ndarray) -> list[tf.Tensor]:
    return [
        tf.constant([temperature], tf.float32),
        tf.constant([top_k], tf.int32),
        tf.constant([top_p], tf.float32),
        tf.constant(seeds, tf.int64),
    ]


def _cut(text: str, stop: Sequence[str]) -> str:
    """A text up to the first of the strings that end it.

    Example:
        >>> _cut("one. two! three.", ["!", "."])
        'one'
    """
    return text[: min((place for mark in stop if mark and (place := text.find(mark)) >= 0), default=len(text))]
