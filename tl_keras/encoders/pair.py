"""Writing an encoder pair: a network and its vocabulary -> `encoder/` and `preprocess/`, as TF Hub publishes them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from tl_keras.encoders.encoder_weights import EncoderWeights, MlmWeights, read_backbone, read_mlm_head
from tl_keras.encoders.pair_encoder import EncoderModule
from tl_keras.encoders.pair_preprocess import PreprocessModule
from tl_keras.encoders.vocabularies import Vocabulary
from tl_keras.errors import UserError, no_tensorflow_error
from tl_keras.files import whole_folder
from tl_keras.manifest import MANIFEST, write_manifest

_PAIR_FILES = {"encoder", "preprocess", "info.json", MANIFEST}


def write_encoder_pair(
    directory: str | os.PathLike,
    backbone,
    vocabulary: Vocabulary,
    *,
    seq_length: int = 128,
    mlm_head=None,
    info: Mapping | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a network and its vocabulary as an encoder pair in TF Hub's format.

    The pair loads with plain `tf.saved_model.load` (and `import tensorflow_text`), with `hub.KerasLayer` and with
    `tl_keras.load_encoder`, from wherever the folder is moved. Everything is written beside and then renamed.

    Args:
        directory: the folder to make; it will hold `encoder/`, `preprocess/` and `info.json`.
        backbone: a `keras_hub.models.BertBackbone` of any size (also DistilBERT, ELECTRA and RoBERTa backbones), with
            the weights and the feed-forward activation to keep; or `EncoderWeights`. Dropout is active when
            `training=True`, at its rate.
        vocabulary: a `WordPieceVocabulary`, `SentencePieceVocabulary` or `BytePairVocabulary`, of no more tokens than the backbone has rows for.
        seq_length: the length to which the preprocessor packs when none is asked for; no more than the backbone's
            positions are used.
        mlm_head: a built `keras_hub.layers.MaskedLMHead` tied to the backbone's embedding, or `MlmWeights`; the encoder
            then has `.mlm`.
        info: facts to keep in `info.json` beside the sizes that are always there (source, licence, ...). The `prompts` among what it
            says is `suggested` go into the preprocessing module too.
        overwrite: replace an encoder pair that is there already.

    Returns:
        The folder.

    Raises:
        UserError: the folder exists, or vocabulary, lengths and backbone do not fit together.

    Example:
        >>> import tempfile, keras_hub
        >>> from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s"]
        >>> backbone = keras_hub.models.BertBackbone(len(words), 1, 2, 8, 16, max_sequence_length=16)
        >>> vocabulary = WordPieceVocabulary(words, WordPieceRules(lower_case=True))
        >>> folder = write_encoder_pair(tempfile.mkdtemp() + "/mini", backbone, vocabulary, seq_length=8)
        >>> preprocess = tf.saved_model.load(str(folder / "preprocess"))
        >>> preprocess(["Good films!"])["input_word_ids"].numpy().tolist()
        [[2, 5, 7, 8, 1, 3, 0, 0]]
    """
    weights = backbone if isinstance(backbone, EncoderWeights) else read_backbone(backbone)
    mlm = mlm_head if mlm_head is None or isinstance(mlm_head, MlmWeights) else read_mlm_head(mlm_head)
    _check_sizes(vocabulary, weights)
    if not vocabulary.packing.segments:
        weights = _with_one_segment(weights)
    if seq_length < 3:
        raise UserError(f"seq_length must be at least 3 (start, one token, end), not {seq_length}.")
    seq_length = min(seq_length, weights.max_length)
    with new_folder(directory, overwrite=overwrite) as folder:
        vocab_file = vocabulary.write(folder)
        encoder = EncoderModule(weights, {vocabulary.asset: str(vocab_file)}, vocabulary.lower_case, mlm)
        tf.saved_model.save(encoder, str(folder / "encoder"), signatures=encoder.trace())
        preprocess = PreprocessModule(
            vocabulary, str(vocab_file), seq_length, dict(info or {}).get("suggested", {}).get("prompts")
        )
        tf.saved_model.save(preprocess, str(folder / "preprocess"), signatures=preprocess.trace())
        vocab_file.unlink()
        (folder / "info.json").write_text(
            json.dumps(_facts(weights, vocabulary, seq_length) | dict(info or {}), indent=1)
        )
    return Path(directory)


@contextmanager
def new_folder(directory: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to write into that takes its name only when the block ends without an error.

    Args:
        directory: the name it will have; parents are made.
        overwrite: replace an encoder pair of that name.

    Raises:
        UserError: `directory` exists (an empty folder is taken over), or can't be replaced or made.
    """
    target = Path(directory)
    check_free(target, overwrite=overwrite)
    with whole_folder(target, replace=overwrite) as beside, no_tensorflow_error(target):
        yield beside
        # What its makers suggest stands in info.json, for people to change.
        write_manifest(beside, lambda name: name == "info.json")


def check_free(target: Path, *, overwrite: bool) -> None:
    """Raise `UserError` unless an encoder pair may be written to `target`."""
    if not (target.exists() or target.is_symlink()):
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file; name a folder for the encoder pair.")
    there = {path.name for path in target.iterdir()}
    if not there:
        return
    if not overwrite:
        raise UserError(f"{target} exists already; choose another folder or pass overwrite=True (--overwrite).")
    if not there <= _PAIR_FILES:
        other = sorted(there - _PAIR_FILES)[0]
        raise UserError(
            f"{target} holds other files than an encoder pair ({other}), so it won't be replaced; delete it first, or choose another folder."
        )


def _with_one_segment(weights: EncoderWeights) -> EncoderWeights:
    """The same network, which takes all tokens for those of a first text, whatever their segment ids are.

    So it was trained; the packed segment ids still say where the second text begins, which the head for answers wants to know.
    """
    arrays = dict(weights.arrays)
    types = arrays.pop("type_embeddings/embeddings", None)
    if types is not None:
        arrays["position_embedding/embeddings"] = arrays["position_embedding/embeddings"] + types[0]
    return dataclasses.replace(weights, arrays=arrays)


def _check_sizes(vocabulary: Vocabulary, weights: EncoderWeights) -> None:
    size = vocabulary.special_ids()["vocab_size"]
    if size > weights.vocabulary_size:
        raise UserError(
            f"The vocabulary has {size} tokens, the encoder rows for {weights.vocabulary_size}: they don't belong together."
        )


def _facts(weights: EncoderWeights, vocabulary: Vocabulary, seq_length: int) -> dict:
    return {
        "layers": weights.num_layers,
        "width": weights.width,
        "heads": weights.num_heads,
        "parameters": sum(array.size for array in weights.arrays.values()),
        "vocabulary_size": weights.vocabulary_size,
        "max_length": weights.max_length,
        "seq_length": seq_length,
        "pooler": "pooler_transform/kernel" in weights.arrays,
        **vocabulary.info(),
    }
