"""Which tokenizer with offsets belongs to an encoder: its own if it has one, else one made from its vocabulary."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text

from tl_keras.encoders.pair_preprocess import WordPieceTokenizer
from tl_keras.encoders.tokenizers import byte_pair_text
from tl_keras.encoders.vocabularies import BYTE_PAIR_FILE, WordPieceRules
from tl_keras.errors import UserError
from tl_keras.text.offsets import OffsetTokenizer
from tl_keras.text.preprocessor import Preprocessor

logger = logging.getLogger(__name__)

# Texts whose length in bytes changes when a tokenizer normalises them: by accents, ligatures, full width, case, dropped
# characters. Each ends in a character that no tokenizer drops, so the last token must end where the text does.
LENGTH_PROBES = (
    "naïve café x",
    "ﬁne ＡＢ x",
    "Straße İx x",
    "x\u200by x",
    "e\u0301a x",
    "a\x00b\r\n\tx",
    "漢字 영화 x",
)
# Texts on which tokenizers that differ in any rule give different ids.
ID_PROBES = (
    *LENGTH_PROBES,
    "",
    " ",
    "The Quick brown-fox, it's 10.5% (good)!",
    "HELLO hello Hello",
    "한국어 문장을 나눠 봅니다.",
    "ΣΑΣ Ωmega Жук",
    "東京タワー abc",
    "🙂 👩\u200d👩\u200d👧 ok",
    "a" * 120 + " good",
    "영" * 40,
    "“quoted” — and… so on",
    "x\u3000y\u00a0z \ufeffgood\u00ad",
    "[MASK] [CLS] good",
)


def offset_tokenizer(preprocessor: Preprocessor, encoder_folder: str) -> OffsetTokenizer:
    """Find or build the tokenizer with offsets that gives the ids of this preprocessing module.

    Args:
        preprocessor: the encoder's.
        encoder_folder: the encoder's SavedModel; its vocabulary is used where the module has no offsets of its own.

    Raises:
        UserError: neither way leads to the preprocessor's ids.
    """
    module = preprocessor.module
    if hasattr(module, "tokenize_with_offsets"):
        for normalize in (None, fold_case, blank_controls):
            if _ends_agree(module.tokenize_with_offsets, normalize):
                unknown = None if normalize is None else preprocessor.unknown_id
                return OffsetTokenizer(module.tokenize_with_offsets, normalize, module, unknown, preprocessor.composes)
    vocabulary = vocabulary_file(encoder_folder)
    if vocabulary is not None:
        wanted = preprocessor.tokenize(tf.constant(ID_PROBES), None)
        for candidate in _candidates(str(vocabulary), preprocessor.unknown_id, preprocessor.composes):
            if _flat(wanted) == candidate(tf.constant(ID_PROBES)).ids.to_list():
                logger.info("%s gives no offsets; its vocabulary's tokenizer does.", preprocessor.folder)
                return candidate
    raise UserError(
        f"the preprocessing module {preprocessor.folder} gives no character offsets, and no tokenizer made from the "
        "encoder's vocabulary agrees with it, so tokens cannot be found back in the text. Choose another encoder, or convert "
        "its checkpoint with `tl-keras convert`: converted encoders have offsets."
    )


def fold_case(texts: tf.Tensor) -> tf.Tensor:
    """What tensorflow_text's BertTokenizer does to a text before it splits it, for uncased vocabularies.

    Source: https://github.com/tensorflow/text/blob/master/tensorflow_text/python/ops/bert_tokenizer.py
    """
    texts = tf_text.normalize_utf8(tf_text.case_fold_utf8(texts), "NFD")
    return blank_controls(tf.strings.regex_replace(texts, r"\p{Mn}", ""))


def blank_controls(texts: tf.Tensor) -> tf.Tensor:
    """The same for cased vocabularies: only control characters change."""
    return tf.strings.regex_replace(texts, r"\p{Cc}|\p{Cf}", " ")


def vocabulary_file(encoder_folder: str) -> Path | None:
    """The vocabulary asset of an encoder's SavedModel, one token a line, or None."""
    files = sorted((Path(encoder_folder) / "assets").glob("*vocab*"))
    return files[0] if files else None


def vocabulary_tokens(encoder_folder: str) -> list[str]:
    """The tokens of an encoder's vocabulary by id, as text, blanks before them as "▁"; empty where it comes without."""
    path = vocabulary_file(encoder_folder)
    if path is not None:
        return path.read_text("utf-8").split("\n")
    byte_pairs = Path(encoder_folder) / "assets" / BYTE_PAIR_FILE
    if byte_pairs.is_file():
        return [byte_pair_text(token) for token in json.loads(byte_pairs.read_text("utf-8"))["tokens"]]
    models = sorted((Path(encoder_folder) / "assets").glob("*.model"))
    if not models:
        return []
    tokenizer = tf_text.SentencepieceTokenizer(models[0].read_bytes())
    return [token.decode() for token in tokenizer.id_to_string(tf.range(tokenizer.vocab_size())).numpy()]


def _ends_agree(tokenize: Callable, normalize: Callable | None) -> bool:
    """Whether the last token of each probe ends where the text, perhaps normalised, ends."""
    texts = tf.constant(LENGTH_PROBES)
    ends = tokenize(texts)[2]
    last = [flat[-1] for flat in _flat(ends)]
    return last == tf.strings.length(texts if normalize is None else normalize(texts)).numpy().tolist()


def _candidates(vocabulary: str, unknown_id: int, composes: bool) -> Iterator[OffsetTokenizer]:
    """Tokenizers of this vocabulary: as Model Garden's modules split, and as BERT's first code does."""
    for lower_case in (True, False):
        tokens = tf_text.BertTokenizer(vocabulary, token_out_type=tf.int32, lower_case=lower_case)
        normalize = fold_case if lower_case else blank_controls
        yield OffsetTokenizer(tokens.tokenize_with_offsets, normalize, tokens, unknown_id, composes)
    for lower_case, strip_accents in ((True, True), (True, False), (False, False)):
        words = WordPieceTokenizer(vocabulary, WordPieceRules(lower_case=lower_case, strip_accents=strip_accents))
        yield OffsetTokenizer(words.tokenize_with_offsets, tracked=words.table, composes=composes)


def _flat(ragged: tf.RaggedTensor) -> list[list[int]]:
    while ragged.ragged_rank > 1:
        ragged = ragged.merge_dims(-2, -1)
    return ragged.to_list()
