"""Answers as slices of a context, by a pre-trained encoder: extractive question answering."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.encoders.base import Encoder, require_encoder
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.models.body import compile_model, linear_logits, peak_learning_rate
from tl_keras.models.pair_heads import SpanAccuracy, SpanLogProbabilities, span_crossentropy
from tl_keras.models.transfer_model import TransferModel
from tl_keras.options import check_ranges


def question_answerer(
    encoder: Encoder,
    transfer: str | Transfer = "fine-tune",
    *,
    null_answers: bool = False,
    null_threshold: float = 0.0,
    max_answer_length: int = 30,
    max_question_length: int | None = None,
    overlap: int | None = None,
    dropout: float = 0.1,
    hidden: int | Sequence[int | keras.layers.Layer] = (),
    learning_rate: float | None = None,
) -> keras.Model:
    """Build and compile an answerer: `P(start = i) = softmax_i(S . T_i)` and the same for the end.

    Inputs -> labels: a question and a context -> the characters of the context that answer it, or none.

    Both distributions run over the tokens of the context and `[CLS]`, which stands for "the answer is not in this window": long
    contexts go through overlapping windows, with the question in each.

    Args:
        encoder: from `load_encoder`; its `seq_length` (384 in the papers, 128 is quick) is the length of a window.
        transfer: `"freeze"` trains the head only, which is weak for this task; `"fine-tune"` everything; `"top-2"` the two upper blocks
            and the head; `"gradual"` one block more each epoch, from the top; or a `tl_keras.Transfer` with settings.
        null_answers: whether "no answer" may be the answer, as in SQuAD v2: `bool(examples.is_impossible.any())`.
        null_threshold: in nats: no answer is given where "not in this window" beats the best answer by more than this in every window.
            `tl_keras.evaluate` tells the one that suits the data best.
        max_answer_length: longest answer given, in tokens.
        max_question_length: longer questions are cut, in tokens; by default 64, or half of `seq_length` if that is less.
        overlap: tokens that neighbouring windows share; by default a quarter of the window, but at least 30 and at most half.
        dropout: fraction of the features dropped before the head while training.
        hidden: widths of dense layers in the head, or layers of your own; none for a linear head.
        learning_rate: the peak rate; by default one that suits `transfer` and the encoder's width. The head learns faster, as in
            `text_classifier`.

    Returns:
        A functional `keras.Model`, compiled with AdamW (warm-up, linear decay, weight decay on matrices, gradient clipping),
        the mean of the cross-entropies of start and end, and the fraction of windows with both right. Input: what `question_batches`
        gives; output: float32 `[batch, length, 2]` log-probabilities of start and end.

    Raises:
        UserError: an option that is not known or does not fit, or an encoder that cannot take pairs or has no vector for each token.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3 and figure 4 (c).

    Example:
        >>> context = "The clock was built by Elias Umber."
        >>> examples = tlk.data.QuestionExamples.from_lists(["Who built the clock?"], [context], [[{"text": "Elias Umber", "answer_start": 23}]])
        >>> model = tlk.question_answerer(encoder, "freeze")
        >>> history = model.fit(tlk.batches(model, examples, training=True), verbose=0)
        >>> answer = tlk.predict(model, ["Who built the clock?"], [context]).iloc[0]
        >>> answer.answer == context[answer.start : answer.end]
        True
    """
    check_ranges({"dropout": dropout, "learning_rate": learning_rate})
    if max_answer_length < 1:
        raise UserError(f"max_answer_length must be at least 1 token, not {max_answer_length}.")
    require_encoder(encoder)
    if encoder.takes_text:
        raise UserError(f"{encoder.name} gives one vector for a whole text; answering needs a BERT-like encoder.")
    head = SpanLogProbabilities(
        null_answers, null_threshold, max_answer_length, max_question_length, overlap, name="spans"
    )
    transfer = Transfer.of(transfer)
    inputs = encoder.inputs()
    missing = {"input_mask", "input_type_ids"} - set(inputs)
    if missing:
        raise UserError(
            f"{encoder.name} takes no {' and no '.join(sorted(missing))}, so question and context cannot be told apart."
        )
    head.windows(encoder)  # refuses what does not fit
    outputs = encoder.layer(transfer)(inputs)
    if not isinstance(outputs, dict) or "sequence_output" not in outputs:
        has = ", ".join(outputs) if isinstance(outputs, dict) else "one tensor"
        raise UserError(f"answering needs the output 'sequence_output', but {encoder.name} gives: {has}.")
    features = outputs["sequence_output"]
    logits = linear_logits(features, 2, hidden, dropout)
    scores = head([logits, inputs["input_mask"], inputs["input_type_ids"]])
    model = TransferModel(inputs, scores, name="question_answerer")
    rate = learning_rate or peak_learning_rate(encoder, features.shape[-1], transfer)
    faster = transfer.trains_encoder and not hidden
    return compile_model(model, rate, span_crossentropy, [SpanAccuracy()], faster_head=faster)
