"""A tagger of tokens on a pre-trained encoder: named entities, semantic roles, parts of speech."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.data.tagging import TagSet
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.models.body import encoder_outputs, hidden_layers, in_context, peak_learning_rate
from tl_keras.models.recurrent import Recurrence
from tl_keras.models.tag_head import MaskedAccuracy, TagProbabilities, masked_crossentropy
from tl_keras.models.transfer_control import prepare
from tl_keras.models.transfer_model import TransferModel
from tl_keras.ranges import check_ranges
from tl_keras.training.optimizer import make_optimizer


def token_classifier(
    encoder: Encoder,
    labels: TagSet | Sequence[str],
    transfer: str | Transfer = "fine-tune",
    *,
    dropout: float = 0.1,
    hidden: int | Sequence[int | keras.layers.Layer] = (),
    recurrent: str | Recurrence | None = "auto",
    learning_rate: float | None = None,
) -> keras.Model:
    """Build and compile a tagger: `P = softmax(W T_i + b)` for the encoder's vector `T_i` of each token.

    Inputs -> labels: one text -> spans of its characters, each with one of `labels`.

    Args:
        encoder: from `load_encoder`.
        labels: `examples.tag_set` says all that the data say. A list of label names stands for BIO tags on whole words.
        transfer: `"freeze"` trains the head only; `"fine-tune"` everything; `"top-2"` the two upper blocks and the head; `"gradual"` one
            block more each epoch, from the top; or a `tl_keras.Transfer` with settings.
        dropout: fraction of the features dropped before the head while training.
        hidden: widths of dense layers in the head, or layers of your own; none for a linear head.
        recurrent: a recurrent network between encoder and head: `"lstm"`, `"gru"`, a `tl_keras.models.recurrent.Recurrence` with
            settings, or None. By default an LSTM in both directions behind word vectors, and none behind other encoders.
        learning_rate: the peak rate; by default one that suits `transfer` and the encoder's width.

    Returns:
        A functional `keras.Model`, compiled with AdamW (warm-up, linear decay, weight decay on matrices, gradient clipping),
        cross-entropy and accuracy over the tokens that carry a tag. Input: what `batches` gives; output: float32
        `[batch, length, tags]` probabilities, special tokens and padding among the tokens.

    Raises:
        UserError: an option that is not known, or an encoder without a vector for each token.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, section 5.3 and figure 4 (d).

    Example:
        >>> text = "Ines Oakwood flew to Lima."
        >>> examples = tlk.data.TaggedExamples.from_spans([text], [[(0, 12, "PER"), (21, 25, "LOC")]])
        >>> model = tlk.token_classifier(encoder, examples.tag_set, transfer="freeze")
        >>> history = model.fit(tlk.batches(model, examples, training=True), verbose=0)
        >>> found = tlk.predict(model, [text]).entities[0]
        >>> all(entity["text"] == text[entity["start"] : entity["end"]] for entity in found)
        True
    """
    tag_set = labels if isinstance(labels, TagSet) else TagSet(labels)
    check_ranges({"dropout": dropout, "learning_rate": learning_rate})
    if not isinstance(encoder, Encoder):
        raise UserError(f"encoder must come from load_encoder(...), not be a {type(encoder).__name__}.")
    if encoder.takes_text:
        raise UserError(f"{encoder.name} gives one vector for a whole text; tagging needs a BERT-like encoder.")
    transfer, recurrence = Transfer.of(transfer), Recurrence.of(recurrent, encoder)
    inputs, outputs = encoder_outputs(encoder, transfer)
    features = in_context(encoder, inputs, outputs, recurrence, dropout)["sequence_output"]
    rate = learning_rate or peak_learning_rate(encoder, features.shape[-1], transfer, recurrence)
    x = hidden_layers(keras.layers.Dropout(dropout, name="dropout")(features), hidden, dropout)
    logits = keras.layers.Dense(
        len(tag_set.tags), kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02), name="logits"
    )(x)
    head = TagProbabilities(tag_set.labels, tag_set.scheme, tag_set.tokens, name="probabilities")
    model = TransferModel(inputs, head(logits), name="token_classifier")
    model.compile(
        optimizer=make_optimizer(rate),
        loss=masked_crossentropy,
        metrics=[MaskedAccuracy()],
        # As in text_classifier: XLA is slower on CPU, and would compile anew for each batch length.
        jit_compile=False,
    )
    return prepare(model)
