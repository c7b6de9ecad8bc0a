"""The encoder of a run that may also be made of word vectors and of a frozen biLM."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tl_keras.encoders.base import Encoder
from tl_keras.encoders.load import load_encoder
from tl_keras.encoders.word_vectors.encoder import WordVectorEncoder, word_vector_encoder
from tl_keras.encoders.word_vectors.read import read_vectors
from tl_keras.errors import UserError
from tl_keras.models.recurrent import Recurrence
from tl_keras.tasks.settings import WordVectorTaskSettings


def encoder_for(settings: WordVectorTaskSettings, texts: Sequence[str]) -> Encoder:
    """The encoder that the settings name; one of word vectors is made ready for the words of the training texts.

    What the vectors know of these texts is logged.

    Args:
        settings: of the run.
        texts: those to train on.

    Raises:
        UserError: a file cannot be read, or does not fit the texts.
    """
    if not settings.on_word_vectors:
        return load_encoder(settings.encoder, settings.seq_length, settings.preprocessor, settings.layers)
    if settings.preprocessor is not None or settings.layers is not None:
        raise UserError(
            "word vectors have neither a preprocessing module nor layers: leave out --preprocessor and --layers."
        )
    options = {"seq_length": settings.seq_length, "seed": settings.seed}
    if settings.elmo is not None:
        from tl_keras.models.elmo import load_elmo

        options.update(contextual=load_elmo(settings.elmo), contextual_at=settings.elmo_at)
    if settings.encoder == settings.NO_VECTORS:
        return word_vector_encoder(None, **options)
    vectors = None if settings.encoder == settings.RANDOM_VECTORS else read_vectors(settings.encoder)
    return word_vector_encoder(vectors, list(texts), **options)


def encoder_config(encoder: Encoder, settings: WordVectorTaskSettings) -> dict:
    """For `config.json`: the recurrent network that was chosen, and what word vectors know of the training texts."""
    recurrence = Recurrence.of(settings.recurrent, encoder)
    known = encoder.known if isinstance(encoder, WordVectorEncoder) else None
    coverage = {} if known is None else {"coverage": {**dataclasses.asdict(known), "summary": str(known)}}
    return {"recurrent": "none" if recurrence is None else recurrence.kind, **coverage}


def encoder_line(config: dict) -> str:
    """For `report.md`: what the model was built on."""
    parts = [f"encoder `{config['encoder']}`"]
    if config.get("elmo"):
        parts.append(f"biLM `{config['elmo']}` at {config['elmo_at']}")
    if config.get("recurrent", "none") != "none":
        parts.append(config["recurrent"].upper())
    return ", ".join([*parts, config["transfer"]])


def coverage_line(config: dict) -> list[str]:
    """For `report.md`: what word vectors know of the training texts."""
    return [f"- training texts: {config['coverage']['summary']}"] if config.get("coverage") else []
