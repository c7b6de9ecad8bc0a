"""Prompts to texts: the graph of a language model, for `generate`, the stream in a terminal and the export."""

from __future__ import annotations

import keras_hub
import tensorflow as tf

from tl_keras._keras import tf_variable
from tl_keras.models.language_model import LanguageModel
from tl_keras.serving.predictor import constant


class InputSampler(keras_hub.samplers.Sampler):
    """KerasHub's decoding loop, with temperature, top-k and top-p of each row's own.

    A row's text depends on its prompt, its settings and its seed, not on the rows beside it.

    Args:
        temperature: float32 `[batch]`; 0 takes the likeliest token each time.
        top_k: int32 `[batch]`; choose among so many of the likeliest tokens, 0 for all.
        top_p: float32 `[batch]`, above 0; choose among the likeliest tokens that have this probability together.
        draws: float32 `[batch, positions]`, uniform between 0 and 1: chance, for each position of the text.
    """

    def __init__(self, temperature, top_k, top_p, draws):
        super().__init__()
        self.settings, self.draws, self._index = (temperature, top_k, top_p), draws, 0

    def __call__(self, next, *arguments, **named):
        """Run the loop; KerasHub calls this."""

        def at_position(prompt, cache, index):
            # The loop hands the position to `next` alone, and chooses the token right after.
            self._index = index
            return next(prompt, cache, index)

        return super().__call__(at_position, *arguments, **named)

    def compute_probabilities(self, logits):
        """Probabilities float32 `[batch, vocabulary]` at each row's temperature."""
        temperature = self.settings[0][:, tf.newaxis]
        return tf.nn.softmax(tf.cast(logits, tf.float32) / tf.where(temperature > 0.0, temperature, 1.0))

    def get_next_token(self, probabilities):
        """Ids int32 `[batch]`."""
        return choose_tokens(probabilities, *self.settings, self.draws[:, self._index])


def choose_tokens(probabilities, temperature, top_k, top_p, draws) -> tf.Tensor:
    """Choose a token for each row: top-k, then top-p, then by chance.

    Args:
        probabilities: float32 `[batch, vocabulary]`.
        temperature: float32 `[batch]`; where it is 0 the likeliest token is taken.
        top_k: int32 `[batch]`, 0 for all.
        top_p: float32 `[batch]`.
        draws: float32 `[batch]` between 0 and 1; equal draws choose equal tokens.

    Returns:
        int32 `[batch]`.

    Source: Fan et al. 2018, https://arxiv.org/abs/1805.04833 (top-k); Holtzman et al. 2019, https://arxiv.org/abs/1904.09751 (top-p).

    Example:
        >>> p = tf.constant([[0.5, 0.1, 0.4]] * 4)
        >>> one, k, draws = tf.ones(4), tf.constant([0, 0, 0, 2]), tf.constant([0.0, 0.6, 0.95, 0.95])
        >>> choose_tokens(p, one, k, one, draws).numpy().tolist()
        [0, 2, 1, 2]
        >>> choose_tokens(p, one, k * 0, one * 0.7, draws).numpy().tolist(), choose_tokens(p, one * 0, k, one, draws).numpy().tolist()
        ([0, 2, 2, 2], [0, 0, 0, 0])
    """
    vocabulary = tf.shape(probabilities)[1]
    likely, ids = tf.math.top_k(probabilities, vocabulary)
    rank = tf.range(vocabulary)[tf.newaxis]
    likely = tf.where((top_k[:, tf.newaxis] <= 0) | (rank < top_k[:, tf.newaxis]), likely, 0.0)
    likely /= tf.reduce_sum(likely, -1, keepdims=True)
    # The token with which the sum reaches top-p is among those to choose from; so the first always is.
    likely = tf.where(tf.cumsum(likely, -1, exclusive=True) < top_p[:, tf.newaxis], likely, 0.0)
    below = tf.cumsum(likely, -1) <= draws[:, tf.newaxis] * tf.reduce_sum(likely, -1, keepdims=True)
    # Rounding may carry a draw near 1 past the last token that is left.
    last = tf.reduce_sum(tf.cast(likely > 0.0, tf.int32), -1) - 1
    place = tf.minimum(tf.reduce_sum(tf.cast(below, tf.int32), -1), last)
    place = tf.where(temperature > 0.0, place, 0)
    return tf.gather(ids, place, batch_dims=1)


def uniform_draws(seeds: tf.Tensor, positions: int) -> tf.Tensor:
    """Chance for each row of its own seed alone: float32 `[batch, positions]`, from int64 seeds `[batch]`."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform([positions], tf.stack([seed, 0])),
        seeds,
        fn_output_signature=tf.float32,
    )


_TEXTS = tf.TensorSpec([None], tf.string, "text")
_SETTINGS = [
    tf.TensorSpec([None], tf.int32, "max_length"),
    tf.TensorSpec([None], tf.float32, "temperature"),
    tf.TensorSpec([None], tf.int32, "top_k"),
    tf.TensorSpec([None], tf.float32, "top_p"),
    tf.TensorSpec([None], tf.int64, "seed"),
]


class _Decoder:
    """The steps from prompts to texts, as functions of tensors."""

    def __init__(self, language_model: LanguageModel):
        self.network, self.tokenizer = language_model.network, language_model.tokenizer
        self.start, self.context = language_model.start, language_model.max_length
        ends = (getattr(self.tokenizer, name, None) for name in ("end_token_id", "end_token2_id"))
        self.ends = [end for end in ends if end is not None]
        self.pad = self.tokenizer.pad_token_id or 0

    def tokens(self, texts) -> tf.RaggedTensor:
        """Ids, int32 ragged `[batch, (tokens)]`, with what a text begins with."""
        ids = tf.cast(self.tokenizer.tokenize(texts), tf.int32)
        start = tf.tile(tf.constant([self.start], tf.int32, [1, len(self.start)]), [ids.nrows(), 1])
        return tf.concat([tf.RaggedTensor.from_tensor(start), ids], 1)

    def prompts(self, texts, max_length) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Ids and mask of prompts, `[batch, room for the longest text]`, and where each text must end."""
        ids = self.tokens(texts)
        lengths = tf.cast(ids.row_lengths(), tf.int32)
        limit = tf.minimum(tf.where(max_length > 0, max_length, self.context), self.context)
        limit = tf.broadcast_to(limit, tf.shape(lengths))
        fits = tf.debugging.Assert(
            tf.reduce_all(lengths < limit),
            ["a prompt leaves no room for a text within max_length; tokens of the prompts:", lengths],
        )
        with tf.control_dependencies([fits]):
            room = tf.reduce_max(limit)
        dense = ids.to_tensor(self.pad)
        dense = tf.pad(dense, [[0, 0], [0, room - tf.shape(dense)[1]]], constant_values=self.pad)
        return dense, tf.sequence_mask(lengths, room), limit

    def sampler(self, texts, temperature, top_k, top_p, seed):
        """What chooses the tokens; settings of one row hold for all."""
        batch = tf.shape(texts)[:1]
        settings = (tf.broadcast_to(value, batch) for value in (temperature, top_k, top_p))
        # All positions there are, whatever the length asked for: a longer text begins as the shorter one does.
        return InputSampler(*settings, uniform_draws(tf.broadcast_to(seed, batch), self.context))

    def generate(self, text, max_length, temperature, top_k, top_p, seed) -> dict[str, tf.Tensor]:
        """What the export does; see `generation_module`."""
        ids, given, limit = self.prompts(text, max_length)
        before = self.network.sampler
        self.network.sampler = self.sampler(text, temperature, top_k, top_p, seed)
        written = self.network.generate_step({"token_ids": ids, "padding_mask": given}, stop_token_ids=self.ends)
        self.network.sampler = before
        mask = tf.cast(written["padding_mask"], tf.bool) & tf.sequence_mask(limit, tf.shape(ids)[1])
        new = tf.reduce_sum(tf.cast(mask & ~given, tf.int32), -1)
        return {"text": self.completions(written["token_ids"], given, mask), "tokens": new}

    def completions(self, ids, given, mask) -> tf.Tensor:
        """What stands behind the prompts: string `[batch]`."""
        special = set(getattr(self.tokenizer, "special_token_ids", None) or []) | set(self.ends)
        plain = tf.reduce_all(ids[..., tf.newaxis] != tf.constant(sorted(special), tf.int32), -1)
        whole, prompt = (
            self.tokenizer.detokenize(tf.ragged.boolean_mask(ids, part & plain)) for part in (mask | given, given)
        )
        # Of the whole, because some tokenizers write a token at the beginning of a text in another way than inside it.
        return tf.strings.substr(whole, tf.strings.length(prompt), tf.strings.length(whole))

    def begin(self, text, max_length):
        """For the stream of one text: ids, mask and the cache of the prompt."""
        ids, given, _ = self.prompts(text, max_length)
        return ids, given, self.network._build_cache(ids)[1]

    def step(self, ids, cache, index, temperature, top_k, top_p, seed):
        """Write the token at one position: ids and cache with it, and whether it ends the text."""
        sampler = self.sampler(ids[:, 0], temperature, top_k, top_p, seed)
        logits, _, cache = self.network.call_with_cache(ids[:, index - 1 : index], cache, index - 1)
        sampler._index = index
        token = sampler.get_next_token(sampler.compute_probabilities(logits[:, 0]))
        place = tf.one_hot(index, tf.shape(ids)[1], on_value=True, off_value=False)
        ended = tf.reduce_any(token[:, tf.newaxis] == tf.constant(self.ends, tf.int32))
        return tf.where(place, token[:, tf.newaxis], ids), cache, ended

    def losses(self, text, prompt) -> dict[str, tf.Tensor]:
        """How surprising texts are after their prompts; see `generation_module`."""
        before = self.tokens(prompt)
        end = tf.fill([tf.shape(text)[0], 1], tf.constant(self.ends[0], tf.int32))
        ids = tf.cast(self.tokenizer.tokenize(text), tf.int32)
        rows = tf.concat([before, ids, tf.RaggedTensor.from_tensor(end)], 1)[:, : self.context + 1]
        dense = rows.to_tensor(self.pad)
        mask = tf.sequence_mask(rows.row_lengths() - 1, tf.shape(dense)[1] - 1)
        logits = self.network({"token_ids": dense[:, :-1], "padding_mask": tf.cast(mask, tf.int32)}, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(dense[:, 1:], tf.cast(logits, tf.float32))
        # The first prediction that counts is that of the first token behind the prompt.
        counted = mask & ~tf.sequence_mask(tf.maximum(before.row_lengths() - 1, 0), tf.shape(mask)[1])
        counts = tf.reduce_sum(tf.cast(counted, tf.int32), -1)
        return {"loss": tf.reduce_sum(tf.where(counted, losses, 0.0), -1), "tokens": counts}


def generation_module(language_model: LanguageModel) -> tf.Module:
    """What is saved: the graph with its tokenizer and weights.

    `serving_default` takes `text`, the prompts, string `[batch]`, and settings, each `[batch]` or of one number for all: `max_length`
    (int32, tokens of prompt and text together, 0 for as many as the model can write), `temperature` (float32), `top_k` (int32), `top_p`
    (float32) and `seed` (int64). It gives `text`, what follows the prompt, string `[batch]`, and `tokens`, how many it wrote, int32
    `[batch]`. A prompt that leaves no room is an error.

    `losses` takes `text` and `prompt`, and gives `loss`, the sum over a text's tokens in nats, float32 `[batch]`, and `tokens`, their
    number, the end of the text among them; of a text longer than the model can read only the beginning counts.

    Args:
        language_model: network and tokenizer.
    """
    decoder = _Decoder(language_model)
    root = tf.Module(name="text_generator")
    # The variables only, not the Keras model: both together would be stored twice.
    root.model_variables = [tf_variable(variable) for variable in language_model.network.variables]
    root.tokenizer = _resources(language_model.tokenizer)
    root.serve = tf.function(decoder.generate, input_signature=[_TEXTS, *_SETTINGS], autograph=False)
    root.losses = tf.function(
        decoder.losses, input_signature=[_TEXTS, tf.TensorSpec([None], tf.string, "prompt")], autograph=False
    )
    root.begin = tf.function(decoder.begin, input_signature=[_TEXTS, _SETTINGS[0]], autograph=False)
    cache = root.begin.get_concrete_function().structured_outputs[2]
    ids = tf.TensorSpec([None, None], tf.int32, "token_ids")
    position = tf.TensorSpec([], tf.int32, "index")
    specs = tf.nest.map_structure(lambda value: tf.TensorSpec(value.shape, value.dtype), cache)
    root.step = tf.function(decoder.step, input_signature=[ids, specs, position, *_SETTINGS[1:]], autograph=False)
    root.decode = tf.function(
        lambda ids, given, mask: decoder.completions(ids, given, mask),
        input_signature=[ids, *(tf.TensorSpec([None, None], tf.bool, name) for name in ("given", "mask"))],
        autograph=False,
    )
    root.context_length = constant(language_model.max_length)
    root.prompt_lengths = tf.function(
        lambda text: tf.cast(decoder.tokens(text).row_lengths(), tf.int32), input_signature=[_TEXTS], autograph=False
    )
    return root


def _resources(tokenizer) -> list:
    """Tables and modules inside a tokenizer, which have to be tracked to be saved; the Keras layer around them need not be."""
    tokenizer(tf.constant([""]))  # some make their tables at the first call
    kinds = (tf.Module, tf.saved_model.experimental.TrackableResource)
    return [value for value in vars(tokenizer).values() if isinstance(value, kinds)]
