"""Builders for two texts: a vector for each and the two towers it is trained in (the bi-encoder), and answers as slices of a context."""

from __future__ import annotations

from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.encoders.base import Encoder, require_encoder
from tl_keras.encoders.encoder_layer import encoder_layer_of
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.models.body import choose_pooling, compile_model, linear_logits, pooled_features
from tl_keras.models.lexical import JoinVectors, LexicalVector, lexical_table
from tl_keras.models.pair_heads import (
    CosineSimilarity,
    SentenceVector,
    SpanAccuracy,
    SpanLogProbabilities,
    sentence_encoder_of,
    span_crossentropy,
)
from tl_keras.models.similarity_losses import Contrastive, CosineRanking, CosineRegression, InBatchNegatives
from tl_keras.models.text_vectors import pooled_vectors, whitening
from tl_keras.models.transfer_control import prepare
from tl_keras.models.transfer_model import TransferModel
from tl_keras.options import check_ranges, default_learning_rate
from tl_keras.text.pair_batches import TOWERS
from tl_keras.training.optimizer import make_optimizer

LOSSES = ("cosine", "ranking", "contrastive", "in-batch")


def sentence_encoder(
    encoder: Encoder,
    transfer: str | Transfer = "fine-tune",
    *,
    pooling: str | None = None,
    normalize: bool = True,
    dimensions: int | str | None = None,
    whiten_texts: Sequence[str] = (),
    lexical_weight: float = 0.0,
    lexical_texts: Sequence[str] = (),
    lexical_dimensions: int = 768,
) -> keras.Model:
    """Build a model that gives each text a vector; texts that mean the same should lie near one another.

    Inputs -> outputs: one text -> float32 `[width]`.

    It works as it is, without training: `predict`, `export` and `TextIndex` take it, and with an encoder made for sentences
    (MiniLM, say) that is often enough. To train it on your own pairs, put it into `bi_encoder`.

    Args:
        encoder: from `load_encoder`.
        transfer: what learns once it is trained: `"fine-tune"`: everything; `"freeze"`: only the matrix of `dimensions`;
            `"top-2"`, `"gradual"` or a `tl_keras.Transfer`: see there.
        pooling: `"mean"` over the tokens, `"max"`, `"mix"` or `"mix-cls"` (a learned mix of all blocks), or `"cls"`. By default what the
            encoder was made for, else `"mean"`. Take `"cls"` only for an encoder that was made for it: without
            training, Spearman on STS-B is 16.5 for BERT's `[CLS]`, 46.4 for the mean (Reimers and Gurevych, table 1).
        normalize: give vectors of length 1, whose dot product is the cosine.
        dimensions: multiply the pooled vector by a matrix to so many numbers, for smaller indexes; or `"same"`, as many as before,
            for something to learn on a frozen encoder. The matrix begins as the identity, or an orthogonal one if the width changes.
        whiten_texts: let the matrix begin as the one that whitens the vectors of these texts (a few thousand, such as the training
            texts): for encoders that were trained on masked words only, whose vectors otherwise all look alike. See
            `tl_keras.models.text_vectors.whitening`.
        lexical_weight: join a second, fixed vector of which words and characters the text has (TF-IDF in few numbers, see
            `tl_keras.models.lexical.lexical_table`), so that the cosine of two texts is `(1 - lexical_weight)` times that of their meanings plus
            `lexical_weight` times that of their letters. For small encoders, which miss much of what plain overlap tells. 0 leaves it out;
            `choose_lexical_weight` finds the best one after training.
        lexical_texts: with a lexical weight: texts that say how rare each one is, such as the training texts.
        lexical_dimensions: numbers in the second vector; fewer are coarser.

    Returns:
        A functional `keras.Model`. Input: what `encoder.batches` gives; output: float32 `[batch, width]`.

    Raises:
        UserError: an option that is not known, or an encoder without the output that is pooled.

    Source: Reimers and Gurevych, "Sentence-BERT", https://arxiv.org/abs/1908.10084, section 3.

    Example:
        >>> model = tlk.sentence_encoder(encoder)
        >>> tlk.encode(model, ["A cat sleeps.", "Stocks fell."]).shape
        (2, 16)
    """
    if dimensions not in (None, "same") and (not isinstance(dimensions, int) or dimensions < 1):
        raise UserError(f'dimensions must be a number of at least 1, or "same", not {dimensions!r}.')
    if not 0.0 <= lexical_weight < 1.0:
        raise UserError(f"lexical_weight must be at least 0 and below 1, not {lexical_weight}.")
    if lexical_weight and not len(lexical_texts):
        raise UserError("a lexical part needs lexical_texts, to learn from them how rare each one is.")
    inputs, vectors = pooled_features(encoder, transfer, choose_pooling(encoder, pooling, usual="mean"))
    whiten = len(whiten_texts) > 0
    if dimensions is not None or whiten:
        width = int(vectors.shape[-1])
        size = width if dimensions in (None, "same") else dimensions
        start = keras.initializers.Identity() if size == width else keras.initializers.Orthogonal()
        layer = keras.layers.Dense(size, use_bias=whiten, kernel_initializer=start, name="projection")
        if whiten:
            layer.build((None, width))
            layer.set_weights(whitening(pooled_vectors(keras.Model(inputs, vectors), encoder, whiten_texts), size))
        vectors = layer(vectors)
    if lexical_weight:
        letters = _lexical_vectors(encoder, inputs, lexical_texts, lexical_dimensions)
        vectors = JoinVectors(lexical_weight, name="joined")([vectors, letters])
    return TransferModel(inputs, SentenceVector(normalize, name="vector")(vectors), name="sentence_encoder")


def bi_encoder(
    model: keras.Model,
    loss: str | keras.losses.Loss = "cosine",
    *,
    score_range: tuple[float, float] = (0.0, 1.0),
    scale: float = 20.0,
    margin: float = 0.5,
    learning_rate: float | None = None,
) -> keras.Model:
    """Build and compile what trains a sentence encoder: two towers, which are both this one model, and their cosine.

    Inputs -> labels: a pair of texts -> a score (`"cosine"`, `"ranking"`), one of two scores, alike or not (`"contrastive"`), or nothing but that
    they belong together (`"in-batch"`: every other document of the batch is a wrong answer).

    Training the towers trains `model` itself: use that afterwards.

    Args:
        model: of `sentence_encoder`.
        loss: `"cosine"`, `"ranking"`, `"contrastive"` or `"in-batch"`: see `tl_keras.models.similarity_losses`, whose losses can be given too.
        score_range: for `"cosine"` and `"contrastive"`: the lowest and the highest score, e.g. `examples.score_range`.
        scale: for `"ranking"` and `"in-batch"`: what the cosines are multiplied by.
        margin: for `"contrastive"`: the cosine distance beyond which unlike pairs are left alone.
        learning_rate: the peak rate; by default one that suits the encoder's width.

    Returns:
        A functional `keras.Model`, compiled with AdamW as `text_classifier` is. Input: what `batches` gives; output: cosines,
        float32 `[batch]`, or `[batch, batch]` for `"in-batch"`.

    Raises:
        UserError: the model is no sentence encoder, nothing in it learns, or the loss is not known.

    Source: Reimers and Gurevych, "Sentence-BERT", https://arxiv.org/abs/1908.10084, figure 2.

    Example:
        >>> texts, others = ["a good film", "dull music"], ["a great film", "a bad plot"]
        >>> pairs = tlk.data.ScoredExamples.from_lists(texts, [5, 1], others, score_range=(0, 5))
        >>> model = tlk.sentence_encoder(encoder, "freeze", dimensions="same")
        >>> towers = tlk.bi_encoder(model, score_range=pairs.score_range)
        >>> history = towers.fit(tlk.batches(towers, pairs, training=True), verbose=0)
        >>> tlk.TextIndex.build(model, others).search(["a bad plot"], k=1).text.item()
        'a bad plot'
    """
    model = sentence_encoder_of(model)
    if not model.trainable_weights:
        raise UserError(
            'nothing in this sentence encoder learns: build it with transfer="fine-tune", or give it dimensions="same" '
            "to learn a matrix on the frozen encoder."
        )
    losses = {
        "cosine": lambda: CosineRegression(*score_range),
        "ranking": lambda: CosineRanking(scale),
        "in-batch": lambda: InBatchNegatives(scale),
        "contrastive": lambda: Contrastive(margin, *score_range),
    }
    if not isinstance(loss, keras.losses.Loss):
        if loss not in losses:
            raise UserError(f"loss={loss!r} is not known; choose one of: {', '.join(LOSSES)}.")
        loss = losses[loss]()
    inputs, vectors = {}, []
    for tower in TOWERS:
        own = _inputs_like(model, tower)
        inputs.update(own)
        vectors.append(model(_for_model(model, own, tower)))
    cosines = CosineSimilarity(isinstance(loss, InBatchNegatives), name="cosine")(vectors)
    towers = TransferModel(inputs, cosines, name="bi_encoder")
    layer = encoder_layer_of(model)
    # A matrix that starts as a good answer (the identity) must not be thrown about like a head that starts from nothing.
    suits = default_learning_rate(_learned_width(model), True) if layer.trainable else 1e-3
    check_ranges({"learning_rate": learning_rate})
    towers.compile(optimizer=make_optimizer(learning_rate or suits), loss=loss, jit_compile=False)
    return prepare(towers)


def _lexical_vectors(encoder: Encoder, inputs, texts: Sequence[str], dimensions: int):
    """The second vector, with its weights set."""
    table = lexical_table(encoder, texts, dimensions)
    layer = LexicalVector(*table.shape, name="lexical")
    letters = layer(inputs["input_word_ids"])
    layer.set_vectors(table)
    return letters


def _inputs_like(model: keras.Model, tower: str) -> dict:
    """Symbolic inputs of one tower, by name."""
    names = sorted(model.input) if isinstance(model.input, dict) else [None]
    return {
        key: keras.Input(shape=() if name is None else (None,), dtype="string" if name is None else "int32", name=key)
        for name, key in ((name, tower if name is None else f"{tower}_{name}") for name in names)
    }


def _for_model(model: keras.Model, inputs: dict, tower: str):
    """One tower's inputs under the names that the model knows."""
    if not isinstance(model.input, dict):
        return inputs[tower]
    return {key.removeprefix(f"{tower}_"): value for key, value in inputs.items()}


def _learned_width(model: keras.Model) -> int:
    """Numbers of the vector without the lexical part."""
    fixed = [layer.dimensions for layer in model.layers if isinstance(layer, LexicalVector)]
    return int(model.output_shape[-1]) - sum(fixed)


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
    how = {"width": features.shape[-1], "learning_rate": learning_rate, "hidden": hidden}
    return compile_model(model, span_crossentropy, [SpanAccuracy()], encoder=encoder, transfer=transfer, **how)
