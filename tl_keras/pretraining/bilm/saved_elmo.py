"""A trained biLM -> a SavedModel with the inputs and outputs that TF Hub's `elmo/3` documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tl_keras.pretraining.bilm.model import PADDING, Bilm, character_ids, end_ids, word_bytes
from tl_keras.pretraining.bilm.word_batches import BEGIN, END, UNKNOWN, Lexicon
from tl_keras.pretraining.run_files import draft_in
from tl_keras.text.words import WordTokenizer, lower_words

_WORDS_AT_ONCE = 100_000


class LexiconFeatures:
    """Ids of a lexicon -> features; the bytes of all words lie in one table.

    Args:
        lexicon: the words.
        max_chars: characters of a word, its two marks included; None where words are read by number.
    """

    def __init__(self, lexicon: Lexicon, max_chars: int | None):
        self.max_chars = max_chars
        if max_chars is not None:
            words = lexicon.vocabulary
            parts = [
                word_bytes(tf.constant(words[start : start + _WORDS_AT_ONCE]), max_chars).numpy()
                for start in range(0, len(words), _WORDS_AT_ONCE)
            ]
            self.bytes = tf.constant(np.concatenate(parts))

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Int32 `[words]` -> int32 `[words, characters]`, or the ids themselves."""
        if self.max_chars is None:
            return ids
        chars = character_ids(tf.gather(self.bytes, ids))
        ends = tf.gather(end_ids(self.max_chars), tf.minimum(ids, END))
        return trim(tf.where((ids <= END)[:, tf.newaxis], ends, chars))


class StringFeatures(tf.Module):
    """Strings -> features, as part of a SavedModel.

    Args:
        words: those that are known by number; None where words are read by their characters.
        max_chars: characters of a word, its two marks included.
    """

    def __init__(self, words: list[str] | None, max_chars: int):
        super().__init__(name="features")
        self.max_chars, self.table = max_chars, None
        if words is not None:
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(words), tf.range(len(words), dtype=tf.int64), tf.string, tf.int64
            )
            self.table = tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN)

    def __call__(self, words: tf.Tensor) -> tf.Tensor:
        """String `[words]` -> features of the two ends of a text, and of these words behind them."""
        if self.table is not None:
            ends = tf.constant([BEGIN, END])
            return tf.concat([ends, tf.cast(self.table.lookup(words), tf.int32)], axis=0)
        chars = character_ids(word_bytes(words, self.max_chars))
        return trim(tf.concat([end_ids(self.max_chars), chars], axis=0))


def trim(chars: tf.Tensor) -> tf.Tensor:
    """Cut the padding that all words share."""
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(chars > PADDING, tf.int32), axis=1))
    return chars[:, :longest]


def vectors_of_ids(model: Bilm, features: Callable[[tf.Tensor], tf.Tensor], ids: tf.Tensor) -> tf.Tensor:
    """Word vectors of a batch; a word that stands there many times is worked out once.

    Args:
        model: The biLM.
        features: Of ids `[words]`.
        ids: int32 `[batch, length]`.

    Returns:
        float32 `[batch, length, width]`.
    """
    distinct, places = tf.unique(tf.reshape(ids, [-1]))
    return tf.gather(model.word_vectors(features(distinct)), tf.reshape(places, tf.shape(ids)))


INFO = "bilm.json"
# Where SavedModels keep files that TensorFlow itself does not read.
EXTRA = "assets.extra"


class ElmoModule(tf.Module):
    """A biLM as a text embedding module: strings, or words, to vectors of words.

    Called with strings `[batch]` it splits them into words by the rules of `tl_keras.text.word_rules`, as the signature
    `default` does; the signature `tokens` takes words `[batch, length]` and how many each text has, `sequence_len`
    `[batch]`. All give a dict of float32:

    - `word_emb` `[batch, length, width]`: the words' own vectors;
    - `lstm_outputs1`, `lstm_outputs2`, ... `[batch, length, 2 * width]`: the states of each layer, forward and backward;
    - `elmo` `[batch, length, 2 * width]`: `scale * sum_j softmax(weights)_j h_j` over the word vectors (twice, side by
      side) and the layers; the plain average, unless these weights and this scale are trained: nothing else can be;
    - `default` `[batch, 2 * width]`: the mean of `elmo` over the words of a text.

    Places behind the end of a text hold zeros.

    Args:
        model: The biLM.
        words: The words it knows by number; None if it reads characters.
        lower_case: Whether it was trained on small letters.
    """

    def __init__(self, model: Bilm, words: list[str] | None, lower_case: bool):
        super().__init__(name="elmo")
        self.model, self.lower_case = model, lower_case
        self.features = StringFeatures(words, model.shape.max_chars)
        self.tokenizer = WordTokenizer(lower_case)
        self.mix_weights = tf.Variable(tf.zeros([model.shape.layers + 1]), name="aggregation/weights")
        self.scale = tf.Variable(1.0, name="aggregation/scaling")

    def of_strings(self, strings: tf.Tensor) -> dict[str, tf.Tensor]:
        """Split, and embed."""
        words = self.tokenizer.tokenize(strings)
        return self.of_tokens(words.to_tensor(""), tf.cast(words.row_lengths(), tf.int32))

    def of_tokens(self, tokens: tf.Tensor, sequence_len: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embed words, string `[batch, length]`, of which each text has int32 `[batch]`."""
        batch, length = tf.unstack(tf.shape(tokens))
        lengths = tf.clip_by_value(sequence_len, 0, length)
        distinct, places = tf.unique(tf.reshape(tokens, [-1]))
        if self.lower_case:
            distinct = lower_words(distinct)
        vectors = self.model.word_vectors(self.features(distinct))
        # Rows 0 and 1 are the two ends of a text; a word's row is its place behind them.
        rows = tf.pad(tf.reshape(places, [batch, length]) + END + 1, [[0, 0], [1, 1]], constant_values=BEGIN)
        behind = tf.range(length + 2)[tf.newaxis] > lengths[:, tf.newaxis]
        x = tf.gather(vectors, tf.where(behind, END, rows))
        layers = self.model.states(x, lengths + 2)
        here = tf.sequence_mask(lengths, length, dtype=x.dtype)[..., tf.newaxis]
        word_emb = x[:, 1:-1] * here
        outputs = {"word_emb": word_emb}
        for number, states in enumerate(layers, start=1):
            outputs[f"lstm_outputs{number}"] = tf.concat(states, axis=-1)[:, 1:-1] * here
        mixed = [tf.concat([word_emb, word_emb], axis=-1), *list(outputs.values())[1:]]
        outputs["elmo"] = self.scale * tf.einsum("j,jblw->blw", tf.nn.softmax(self.mix_weights), tf.stack(mixed))
        count = tf.cast(tf.maximum(lengths, 1), x.dtype)[:, tf.newaxis]
        outputs["default"] = tf.reduce_sum(outputs["elmo"], axis=1) / count
        return outputs


def export_bilm(folder: str | Path, model: Bilm, lexicon: Lexicon, info: dict | None = None) -> Path:
    """Write a SavedModel into a run folder, beside what the run left there.

    Args:
        folder: The run folder; an older SavedModel in it is replaced.
        model: The trained biLM.
        lexicon: Its words.
        info: Facts for `assets.extra/bilm.json`.

    Returns:
        The folder.
    """
    folder = Path(folder)
    root = elmo_module(model, lexicon)
    with draft_in(folder) as draft:
        signatures = {"default": root.of_strings, "tokens": root.of_tokens}
        tf.saved_model.save(root, str(draft), signatures=signatures)
        facts = {"layers": model.shape.layers, "width": model.shape.width, "tokens": model.shape.tokens, **(info or {})}
        (draft / EXTRA).mkdir()
        (draft / EXTRA / INFO).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
        lexicon.write(draft / EXTRA / "words.txt")
        # For whoever wants to go on with the language models themselves.
        softmax = {"weights": model.softmax_weights.numpy(), "bias": model.softmax_bias.numpy()}
        np.savez(draft / EXTRA / "softmax.npz", **softmax)
    return folder


def elmo_module(model: Bilm, lexicon: Lexicon) -> tf.train.Checkpoint:
    """What is saved: an `ElmoModule`'s functions and weights, under the names that hub layers look for."""
    model = _frozen(model)
    elmo = ElmoModule(model, lexicon.predicted if model.char_cnn is None else None, lexicon.lower_case)
    strings = tf.TensorSpec([None], tf.string, "strings")
    words = [tf.TensorSpec([None, None], tf.string, "tokens"), tf.TensorSpec([None], tf.int32, "sequence_len")]
    root = tf.train.Checkpoint()
    root.of_strings, root.of_tokens = _function(elmo.of_strings, [strings]), _function(elmo.of_tokens, words)
    root.__call__ = root.of_strings
    root.trainable_variables = [elmo.mix_weights, elmo.scale]
    # The softmax is no part of a text's vectors.
    softmax = {id(model.softmax_weights), id(model.softmax_bias)}
    rest = [variable for variable in model.variables if id(variable) not in softmax]
    root.variables = [*root.trainable_variables, *rest]
    if elmo.features.table is not None:
        root.table = elmo.features.table
    return root


def _frozen(model: Bilm) -> Bilm:
    """The same biLM of variables that nobody trains: a tape that watches the loaded module finds the mix alone."""
    with tf.variable_creator_scope(lambda create, **options: create(**{**options, "trainable": False})):
        copy = Bilm(model.shape)
    for ours, theirs in zip(copy.variables, model.variables, strict=True):
        ours.assign(theirs)
    return copy


def _function(method: Callable, specs: list[tf.TensorSpec]):
    return tf.function(method, input_signature=specs, autograph=False)
