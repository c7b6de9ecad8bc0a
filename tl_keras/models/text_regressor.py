"""A number for a text or a pair of texts, on a pre-trained encoder: the cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.data.pairs import check_range
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.models.body import hidden_layers, peak_learning_rate, pooled_features
from tl_keras.models.similarity_head import ScoreInRange
from tl_keras.models.similarity_losses import ScoreCrossEntropy
from tl_keras.models.transfer_control import prepare
from tl_keras.models.transfer_model import TransferModel
from tl_keras.ranges import check_ranges
from tl_keras.training.optimizer import make_optimizer


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
        learning_rate: the peak rate; by default one that suits the encoder and `transfer`.

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
    x = hidden_layers(keras.layers.Dropout(dropout, name="dropout")(features), hidden, dropout)
    logits = keras.layers.Dense(1, kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02), name="logits")(x)
    scores = ScoreInRange(low, high, name="score")(logits)
    model = TransferModel(inputs, scores, name="text_regressor")
    model.compile(
        optimizer=make_optimizer(learning_rate or peak_learning_rate(encoder, features.shape[-1], transfer)),
        loss=ScoreCrossEntropy(low, high),
        metrics=["mae"],
        # As in text_classifier: XLA is slower on CPU, and would compile anew for each batch length.
        jit_compile=False,
    )
    return prepare(model)
