"""A classifier of texts or pairs of texts on a pre-trained encoder."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.models.body import hidden_layers, peak_learning_rate, pooled_features
from tl_keras.models.heads import ClassProbabilities
from tl_keras.models.recurrent import Recurrence
from tl_keras.models.transfer_control import let_head_learn_faster, prepare
from tl_keras.models.transfer_model import TransferModel
from tl_keras.ranges import check_ranges
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
    rate = learning_rate or peak_learning_rate(encoder, features.shape[-1], transfer, recurrence)
    x = hidden_layers(keras.layers.Dropout(dropout, name="dropout")(features), hidden, dropout)
    logits = keras.layers.Dense(
        len(names), kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02), name="logits"
    )(x)
    probabilities = ClassProbabilities(names, multi_label, name="probabilities")(logits)
    model = TransferModel(inputs, probabilities, name="text_classifier")
    if transfer.trains_encoder and recurrence is None and not hidden:
        let_head_learn_faster(model)
    model.compile(
        optimizer=make_optimizer(rate),
        loss="binary_crossentropy" if multi_label else "sparse_categorical_crossentropy",
        metrics=["binary_accuracy" if multi_label else "accuracy", *metrics],
        # XLA is slower on CPU for this step, and would compile anew for each batch length.
        jit_compile=False,
    )
    return prepare(model)


def _check_classes(classes: Sequence[str], multi_label: bool) -> list[str]:
    if classes is None or isinstance(classes, str):
        raise UserError('classes must be a list of label names, e.g. ["negative", "positive"].')
    names = [str(name) for name in classes]
    if len(set(names)) != len(names):
        raise UserError(f"a class name occurs twice: {names}.")
    if len(names) < (1 if multi_label else 2):
        raise UserError(
            f"a classifier needs at least two classes, but there is {names or 'none'}: is the label column right?"
        )
    return names
