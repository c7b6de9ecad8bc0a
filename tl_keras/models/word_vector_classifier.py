"""A classifier of texts on word vectors: how it was done before BERT."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.encoders.word_vectors.encoder import WordVectorEncoder, word_vector_encoder
from tl_keras.encoders.word_vectors.ways import SLOW, way
from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.errors import UserError
from tl_keras.models.recurrent import Recurrence
from tl_keras.models.text_classifier import text_classifier


def word_vector_classifier(
    vectors: WordVectorEncoder | WordVectors | str | os.PathLike | None,
    classes: Sequence[str],
    transfer: str | Transfer = "init",
    *,
    texts: Sequence[str] | None = None,
    recurrent: str | None = "lstm",
    units: int = 128,
    bidirectional: bool = True,
    pooling: str = "max",
    dropout: float = 0.3,
    hidden: int | Sequence[int | keras.layers.Layer] = (),
    multi_label: bool = False,
    learning_rate: float | None = None,
    slow: float = SLOW,
) -> keras.Model:
    """Build and compile a classifier on word vectors: a recurrent network over them (or none), pooling, softmax.

    Inputs -> labels: one text, or a pair of texts -> one of `classes` (or any number of them with `multi_label`).

    Args:
        vectors: of `word_vector_encoder`; or vectors from `read_vectors`, a file of them, or None for random ones: then `texts` are
            needed, and the encoder, which makes batches, is `tl_keras.encoder_of(model)`.
        classes: label names; label `i` in the batches means `classes[i]`.
        transfer: `"init"`: the vectors are initial values, and learn like all the rest; `"freeze"`: they stay as they are; `"slow"`: they
            learn at a fraction of the learning rate, so that words that the training texts have do not run away from those that they have not.
            The vector of unknown words is learned in any case. Or a `tl_keras.Transfer` with settings, whose part is `"embeddings"`.
        texts: those to train on, where `vectors` is no encoder.
        recurrent: `"lstm"`, `"gru"`, or None for pooled vectors alone. See `tl_keras.models.recurrent.RecurrentNetwork` for what runs fast.
        units: width of its state in each direction.
        bidirectional: whether it reads in both directions.
        pooling: `"max"` or `"mean"` over the words, or `"cls"` for the states behind the whole text (without a recurrent network: the
            mean).
        dropout: fraction of the vectors' and of the features' numbers dropped while training.
        hidden: widths of dense layers in the head, or layers of your own; none for a linear head.
        multi_label: a sigmoid for each class instead of one softmax; labels are then float `[batch, classes]` of 0 and 1.
        learning_rate: the peak rate.
        slow: fraction of the learning rate for `"slow"`.

    Returns:
        A functional `keras.Model`, compiled like that of `text_classifier`. Input: what `encoder.batches` gives; output: float32
        `[batch, classes]` probabilities.

    Raises:
        UserError: an option that is not known, or neither an encoder nor texts are given.

    Source: the three ways: Kim, "Convolutional Neural Networks for Sentence Classification", https://arxiv.org/abs/1408.5882 (its
        "non-static" and "static"); max pooling over the states of an LSTM: Conneau et al., https://arxiv.org/abs/1705.02364.

    Example: ::

        encoder = tlk.word_vector_encoder("ko.vec", train.texts)
        model = tlk.word_vector_classifier(encoder, train.classes, "slow")
        model.fit(tlk.batches(encoder, train, training=True), validation_data=tlk.batches(encoder, valid), epochs=5)
        tlk.export(model, "exported/1")
    """
    plan = way(transfer, slow)
    if isinstance(vectors, WordVectorEncoder):
        if texts is not None:
            raise UserError("the encoder was made for its texts already; leave texts out.")
        encoder = vectors
    else:
        encoder = word_vector_encoder(vectors, texts)
    return text_classifier(
        encoder,
        classes,
        plan,
        pooling=pooling,
        dropout=dropout,
        hidden=hidden,
        recurrent=Recurrence(recurrent, units, bidirectional) if recurrent else None,
        multi_label=multi_label,
        learning_rate=learning_rate,
    )
