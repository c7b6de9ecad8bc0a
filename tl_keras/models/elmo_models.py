"""Classifiers and taggers on ELMo vectors, alone or beside word vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tl_keras._keras import keras
from tl_keras.data.tagging import TagSet
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.encoders.word_vectors.encoder import WordVectorEncoder, word_vector_encoder
from tl_keras.encoders.word_vectors.ways import way
from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.errors import UserError
from tl_keras.models.elmo import PLACES, Elmo, load_elmo
from tl_keras.models.recurrent import Recurrence
from tl_keras.models.token_classifier import token_classifier
from tl_keras.models.word_vector_classifier import word_vector_classifier


def elmo_classifier(
    elmo: Elmo | str | os.PathLike,
    classes: Sequence[str],
    at: str = "input",
    *,
    vectors: WordVectors | str | os.PathLike | None = None,
    texts: Sequence[str] | None = None,
    transfer: str | Transfer = "init",
    seq_length: int = 128,
    **options,
) -> keras.Model:
    """Build and compile a classifier on a frozen biLM: ELMo vectors, a recurrent network, pooling, softmax.

    Inputs -> labels: one text, or a pair of texts -> one of `classes` (or any number of them with `multi_label`).

    Args:
        elmo: from `load_elmo`, or the handle of one.
        classes: label names; label `i` in the batches means `classes[i]`.
        at: what the ELMo vectors are joined to: the `"input"` of the recurrent network (beside the word vectors, if there are any), its
            `"output"`, or `"both"`; each with a mix of its own.
        vectors: word vectors beside them, from `read_vectors` or a file.
        texts: those to train on. With `vectors` it is their words that learn; without, their words get random vectors that learn.
        transfer: what word vectors do, as in `word_vector_classifier`; the biLM is frozen in any case.
        seq_length: longest text in words; longer ones are cut.
        **options: of `word_vector_classifier`: `recurrent`, `units`, `pooling`, `dropout`, `hidden`, `multi_label`, ...

    Returns:
        A functional `keras.Model`, compiled like that of `text_classifier`. What makes its batches is `tl_keras.encoder_of(model)`.

    Raises:
        UserError: no biLM, an option that is not known, or nothing that the recurrent network could read.

    Source: Peters et al. 2018, https://arxiv.org/abs/1802.05365, section 3.3.

    Example: ::

        model = tlk.elmo_classifier("runs/bilm", train.classes, vectors="ko.vec", texts=train.texts)
        encoder = tlk.encoder_of(model)
        model.fit(tlk.batches(encoder, train, training=True), validation_data=tlk.batches(encoder, valid), epochs=5)
    """
    encoder = elmo_encoder(elmo, at, vectors=vectors, texts=texts, seq_length=seq_length)
    return word_vector_classifier(encoder, classes, transfer, **options)


def elmo_tagger(
    elmo: Elmo | str | os.PathLike,
    labels: TagSet | Sequence[str],
    at: str = "input",
    *,
    vectors: WordVectors | str | os.PathLike | None = None,
    texts: Sequence[str] | None = None,
    transfer: str | Transfer = "init",
    seq_length: int = 128,
    recurrent: str = "lstm",
    units: int = 128,
    **options,
) -> keras.Model:
    """Build and compile a tagger on a frozen biLM: ELMo vectors, a recurrent network, a softmax over the tags of each word.

    Inputs -> labels: one text -> spans of its characters, each with one of `labels`.

    Args:
        elmo: from `load_elmo`, or the handle of one.
        labels: `examples.tag_set`, or a list of label names.
        at: what the ELMo vectors are joined to, as in `elmo_classifier`.
        vectors: word vectors beside them.
        texts: those to train on, as in `elmo_classifier`.
        transfer: what word vectors do, as in `word_vector_classifier`; the biLM is frozen in any case.
        seq_length: longest text in words; longer ones go through overlapping windows.
        recurrent: `"lstm"` or `"gru"`.
        units: width of its state in each direction.
        **options: of `token_classifier`: `dropout`, `hidden`, `learning_rate`.

    Returns:
        A functional `keras.Model`, compiled like that of `token_classifier`. What makes its batches is `tl_keras.encoder_of(model)`.

    Raises:
        UserError: as for `elmo_classifier`.
    """
    encoder = elmo_encoder(elmo, at, vectors=vectors, texts=texts, seq_length=seq_length)
    return token_classifier(encoder, labels, way(transfer), recurrent=Recurrence(recurrent, units), **options)


def elmo_encoder(
    elmo: Elmo | str | os.PathLike,
    at: str = "input",
    *,
    vectors: WordVectors | str | os.PathLike | None = None,
    texts: Sequence[str] | None = None,
    seq_length: int = 128,
) -> WordVectorEncoder:
    """Word vectors, or none, with ELMo vectors to be joined: an encoder for `text_classifier` and `token_classifier`.

    Args:
        elmo: from `load_elmo`, or the handle of one.
        at: what the ELMo vectors are joined to, as in `elmo_classifier`.
        vectors: word vectors beside them.
        texts: those to train on, as in `elmo_classifier`.
        seq_length: longest text in words.

    Raises:
        UserError: no biLM, no such place, or nothing to read where the vectors join behind the recurrent network.
    """
    if at not in PLACES:
        raise UserError(f"ELMo vectors join at {', '.join(PLACES)}, not at {at!r}.")
    if at == "output" and vectors is None and texts is None:
        raise UserError(
            'at="output" leaves the recurrent network nothing to read: give vectors=, or texts= for random ones, or at="both".'
        )
    elmo = elmo if isinstance(elmo, Elmo) else load_elmo(elmo)
    return word_vector_encoder(vectors, texts, seq_length=seq_length, contextual=elmo, contextual_at=at)
