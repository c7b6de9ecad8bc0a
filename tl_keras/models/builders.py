"""An encoder and a head make a compiled `keras.Model`: for classes, numbers and tags; and a language model one that writes."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.data.given import check_classes
from tl_keras.data.pairs import check_range
from tl_keras.data.tagging import TagSet
from tl_keras.encoders.base import Encoder, require_encoder
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.models.body import (
    compile_model,
    encoder_outputs,
    in_context,
    linear_logits,
    pooled_features,
)
from tl_keras.models.heads import ClassProbabilities, MaskedAccuracy, TagProbabilities, masked_crossentropy
from tl_keras.models.language_model import LanguageModel, register_generator
from tl_keras.models.pair_heads import ScoreInRange
from tl_keras.models.recurrent import Recurrence
from tl_keras.models.similarity_losses import ScoreCrossEntropy
from tl_keras.models.transfer_model import TransferModel
from tl_keras.options import check_ranges, default_learning_rate
from tl_keras.training.optimizer import make_optimizer


def text_classifier(
    encoder: Encoder,
    classes: Sequence[str],
    transfer: str | Transfer = "fine-tune",
    *,
    pooling: str | None = None,
    dropout: float = 0.1,
    hidden: int | Sequence[int | keras.layers.Layer] = (),
    recurrent: str | Recurrence | None = "auto",
    multi_label: bool = False,
    learning_rate: float | None = None,
    metrics: Sequence[keras.metrics.Metric] = (),
) -> keras.Model:
    """Build and compile a classifier: `P = softmax(W C + b)` on the encoder's pooled output `C`.

    Inputs -> labels: one text, or a pair of texts -> one of `classes` (or any number of them with `multi_label`).

    Args:
        encoder: from `load_encoder`.
        classes: label names; label `i` in the batches means `classes[i]`.
        transfer: `"freeze"` trains the head only; `"fine-tune"` everything; `"top-2"` the two upper blocks and the head; `"gradual"` one
            block more each epoch, from the top; or a `tl_keras.Transfer` with settings.
        pooling: `"cls"`, `"mean"`, `"max"`, `"mix"` or `"mix-cls"`; see `tl_keras.models.body.pooled_features`. By default what the
            encoder was made for, `"max"` behind a recurrent network, else `"cls"`.
        dropout: fraction of the features dropped before the head while training.
        hidden: widths of dense layers in the head, or layers of your own; none for a linear head.
        recurrent: a recurrent network between encoder and pooling: `"lstm"`, `"gru"`, a `tl_keras.models.recurrent.Recurrence` with
            settings, or None. By default an LSTM in both directions behind word vectors, and none behind other encoders.
        multi_label: a sigmoid for each class instead of one softmax; labels are then float `[batch, classes]` of 0 and 1.
        learning_rate: the peak rate; by default one that suits the encoder and `transfer`. A linear head on an encoder that learns
            takes up to twenty times as much, unless `Transfer(lr_multipliers={"head": ...})` says otherwise.
        metrics: further ones, beside accuracy.

    Returns:
        A functional `keras.Model`, compiled with AdamW (warm-up, linear decay, weight decay on matrices, gradient clipping),
        cross-entropy and accuracy. Input: what `encoder.batches` gives; output: float32 `[batch, classes]` probabilities.

    Raises:
        UserError: fewer than two classes, a name twice, or an option that is not known.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, sections 3.2 and 4.1.

    Example:
        >>> model = tlk.text_classifier(encoder, classes=["negative", "positive"], transfer="freeze")
        >>> history = model.fit(tlk.batches(model, reviews, training=True), epochs=1, verbose=0)
        >>> tlk.predict(model, ["a very good film"]).label.item() in ("negative", "positive")
        True
    """
    names = _check_classes(classes, multi_label)
    check_ranges({"dropout": dropout, "learning_rate": learning_rate})
    transfer = Transfer.of(transfer)
    recurrence = Recurrence.of(recurrent, encoder)
    inputs, features = pooled_features(encoder, transfer, pooling, recurrence, dropout)
    logits = linear_logits(features, len(names), hidden, dropout)
    probabilities = ClassProbabilities(names, multi_label, name="probabilities")(logits)
    model = TransferModel(inputs, probabilities, name="text_classifier")
    loss = "binary_crossentropy" if multi_label else "sparse_categorical_crossentropy"
    metrics = ["binary_accuracy" if multi_label else "accuracy", *metrics]
    how = {"learning_rate": learning_rate, "hidden": hidden, "recurrence": recurrence}
    return compile_model(model, loss, metrics, encoder=encoder, transfer=transfer, width=features.shape[-1], **how)


def _check_classes(classes: Sequence[str], multi_label: bool) -> list[str]:
    names = list(check_classes(classes))
    if len(names) < (1 if multi_label else 2):
        raise UserError(
            f"a classifier needs at least two classes, but there is {names or 'none'}: is the label column right?"
        )
    return names


def text_regressor(
    encoder: Encoder,
    score_range: tuple[float, float] = (0.0, 1.0),
    transfer: str | Transfer = "fine-tune",
    *,
    pooling: str | None = None,
    dropout: float = 0.1,
    hidden: int | Sequence[int | keras.layers.Layer] = (),
    learning_rate: float | None = None,
) -> keras.Model:
    """Build and compile a regressor: `low + (high - low) sigmoid(w C + b)` on the encoder's pooled output `C`.

    Inputs -> labels: one text, or a pair of texts read together -> a number in `score_range`.

    The two texts of a pair look at each other in every layer, which makes a cross-encoder the stronger model where the encoder is
    good and there are many pairs. It gives no vectors: to search in a collection, or to compare with little data or a small
    encoder, take `sentence_encoder`.

    Args:
        encoder: from `load_encoder`.
        score_range: the lowest and the highest score, e.g. `examples.score_range`.
        transfer: `"freeze"` trains the head only; `"fine-tune"` everything; `"top-2"` the two upper blocks and the head; `"gradual"` one
            block more each epoch, from the top; or a `tl_keras.Transfer` with settings.
        pooling: `"cls"`, `"mean"`, `"max"`, `"mix"` or `"mix-cls"`; see `tl_keras.models.body.pooled_features`. By default what the
            encoder was made for, or `"cls"` where that is not known.
        dropout: fraction of the features dropped before the head while training.
        hidden: widths of dense layers in the head, or layers of your own; none for a linear head.
        learning_rate: the peak rate; by default one that suits the encoder and `transfer`. The head learns faster, as in `text_classifier`.

    Returns:
        A functional `keras.Model`, compiled with AdamW (warm-up, linear decay, weight decay on matrices, gradient clipping),
        cross-entropy on the score moved to 0..1, and the mean absolute error. Input: what `encoder.batches` gives; output: float32
        `[batch]`, in the units of the scores.

    Raises:
        UserError: an option that is not known, or a range that is none.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, section 4.1 (STS-B as a pair task).

    Example:
        >>> pairs = tlk.data.ScoredExamples.from_lists(["A cat sleeps."], [4.5], text_pairs=["A cat is asleep."], score_range=(0, 5))
        >>> model = tlk.text_regressor(encoder, pairs.score_range, transfer="freeze")
        >>> history = model.fit(tlk.batches(model, pairs, training=True), verbose=0)
        >>> tlk.predict(model, ["A cat sleeps."], ["A cat is asleep."]).score.between(0, 5).item()
        True
    """
    low, high = check_range(score_range)
    check_ranges({"dropout": dropout, "learning_rate": learning_rate})
    transfer = Transfer.of(transfer)
    inputs, features = pooled_features(encoder, transfer, pooling)
    logits = linear_logits(features, 1, hidden, dropout)
    scores = ScoreInRange(low, high, name="score")(logits)
    model = TransferModel(inputs, scores, name="text_regressor")
    how = {"width": features.shape[-1], "learning_rate": learning_rate, "hidden": hidden}
    return compile_model(model, ScoreCrossEntropy(low, high), ["mae"], encoder=encoder, transfer=transfer, **how)


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
        learning_rate: the peak rate; by default one that suits `transfer` and the encoder's width. The head learns faster, as in
            `text_classifier`.

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
    require_encoder(encoder)
    if encoder.takes_text:
        raise UserError(f"{encoder.name} gives one vector for a whole text; tagging needs a BERT-like encoder.")
    transfer, recurrence = Transfer.of(transfer), Recurrence.of(recurrent, encoder)
    inputs, outputs = encoder_outputs(encoder, transfer)
    features = in_context(encoder, inputs, outputs, recurrence, dropout)["sequence_output"]
    logits = linear_logits(features, len(tag_set.tags), hidden, dropout)
    head = TagProbabilities(tag_set.labels, tag_set.scheme, tag_set.tokens, name="probabilities")
    model = TransferModel(inputs, head(logits), name="token_classifier")
    how = {"width": features.shape[-1], "learning_rate": learning_rate, "hidden": hidden, "recurrence": recurrence}
    return compile_model(model, masked_crossentropy, [MaskedAccuracy()], encoder=encoder, transfer=transfer, **how)


def text_generator(language_model: LanguageModel, *, learning_rate: float | None = None) -> keras.Model:
    """A compiled model that goes on learning to predict the next token.

    Inputs -> labels: `language_model.batches(...)` gives both, and weights.

    Args:
        language_model: of `load_language_model`; it shares its weights with the model.
        learning_rate: the peak; by default one for fine-tuning, by the network's width.

    Returns:
        A `keras.Model`: token ids -> logits float `[batch, length, vocabulary]`. Export it with `export`, write with `generate`.
    """
    network = language_model.network
    model = TransferModel(network.input, network.output, name="text_generator")
    rate = learning_rate or default_learning_rate(network.backbone.hidden_dim, trainable=True)
    # Each token counts alike, whatever the padding around it.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(optimizer=make_optimizer(rate), loss=loss)
    register_generator(model, language_model)
    return model
