"""Train a causal language model further, from a file to a run folder."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from pathlib import Path

import tensorflow as tf

from tl_keras._keras import require_keras_3
from tl_keras.data.examples import Examples
from tl_keras.data.generation_texts import read_texts
from tl_keras.errors import UserError
from tl_keras.manifest import tree_sha256
from tl_keras.models.builders import text_generator
from tl_keras.models.language_model import PRESET, LanguageModel, load_language_model, save_preset
from tl_keras.serving.predict import as_predictor
from tl_keras.tasks.page import best_epoch_line, cell, in_shell, section, write_page
from tl_keras.tasks.run import Run

logger = logging.getLogger(__name__)

SAMPLES = 8
TOP_P = 0.95


class TextGenerationRun(Run):
    """A language model goes on learning from texts; settings are `TextGenerationSettings`."""

    task = "text-generation"

    def __init__(self, settings):
        require_keras_3("text generation")
        super().__init__(settings)

    def read(self) -> tuple[Examples, Examples]:
        """Training and validation texts as the settings say.

        Raises:
            UserError: a file cannot be read, or holds too few texts.
        """
        settings = self.settings
        options = self.options("text", "prompt", "completion", "quoting", "encoding")
        train = read_texts(settings.train, **options)
        valid = None if settings.validation is None else read_texts(settings.validation, **options)
        return self.divide(train, valid)

    def load_encoder(self) -> LanguageModel:
        """The language model that the settings name."""
        model = load_language_model(self.settings.model)
        if self.settings.seq_length > model.max_length:
            raise UserError(
                f"--seq-length {self.settings.seq_length} is more than the {model.max_length} tokens that {self.settings.model} can read."
            )
        return model

    @functools.cached_property
    def _encoder_hash(self) -> str | None:
        """Of the language model it goes on from; None where KerasHub fetched it."""
        path = Path(self.settings.model)
        path = path / PRESET if (path / PRESET).is_dir() else path
        return tree_sha256(path) if path.is_dir() else None

    def build(self):
        """The model to fit."""
        return text_generator(self.encoder, learning_rate=self.settings.learning_rate)

    def batches(self, examples, training):
        """Rows of tokens, each to be predicted from those before it."""
        settings = self.settings
        # `row_finder` gives row numbers as labels, and wants them back in the place of the tokens.
        numbered = examples.labels is not None
        if numbered:
            examples = dataclasses.replace(examples, rows=examples.labels, labels=None)
        return self.encoder.batches(
            examples if training else examples.sorted_by_length(),
            seq_length=settings.seq_length,
            batch_size=settings.batch_size,
            training=training,
            seed=settings.seed,
            numbered=numbered,
        )

    def evaluate(self):
        """Perplexity on the validation texts; of pairs, on the completions after their prompts."""
        return as_predictor(self.model).perplexity(self.valid.texts, self.valid.text_pairs)

    def extra_config(self, report):
        """What the model can read and write."""
        return {"context": self.encoder.max_length, "parameters": int(sum(map(_size, self.model.trainable_weights)))}

    def write_page(self, folder, outcome):
        """The model as a preset, perplexity and samples."""
        save_preset(self.encoder, folder / PRESET)
        config, report = outcome.config, outcome.report
        generator, prompts = as_predictor(self.model), [""] * SAMPLES
        if self.valid.text_pairs is not None:
            texts = self.valid.texts.tolist()
            lengths = generator.module.prompt_lengths(tf.constant(texts)).numpy()
            # A prompt that fills the row leaves nothing to show.
            prompts = [text for text, n in zip(texts, lengths, strict=True) if n < config["seq_length"]][:SAMPLES]
        samples = generator.generate(prompts, max_length=config["seq_length"], top_p=TOP_P, seed=config["seed"])
        rows = [[cell(prompt), cell(text)] for prompt, text in zip(samples["prompt"], samples["text"], strict=True)]
        columns = f"`{config['prompt']}` and `{config['completion']}`" if config["prompt"] else f"`{config['text']}`"
        write_page(
            folder,
            outcome,
            made_of=f"language model `{config['model']}`, {config['parameters'] / 1e6:.2f} million parameters",
            data="" if config["train"].endswith(".txt") else f", {columns}",
            kept=best_epoch_line(outcome, "with the lowest perplexity"),
            metrics=[
                f"{report}. Perplexity depends on the tokens: compare it only among models with the same tokenizer.",
                "",
            ],
            mistakes=section(f"Samples (top-p {TOP_P}, not chosen)", ["prompt", "text"], rows),
            use=f'tl-keras generate {in_shell(config["out"])} --prompt "..." --top-p {TOP_P}',
            output="takes `text` (the prompts), `max_length`, `temperature`, `top_k`, `top_p` and `seed`, and gives `text` and `tokens`",
        )


def _size(weight) -> int:
    return math.prod(weight.shape)
