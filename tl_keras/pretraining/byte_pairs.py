"""Byte-level byte-pair encoding: learning a vocabulary, and turning text into the ids that KerasHub's GPT-2 tokenizer gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tl_keras.errors import UserError

END_OF_TEXT = "<|endoftext|>"
"""Begins and ends every text; GPT-2 has one token for both."""
MERGES = "merges.txt"


class BytePairs:
    """Text -> ids, and the vocabulary behind them.

    Every byte is a token of its own, so no text is unknown and every text comes back as it was. It stands in for a
    tokenizer where token files are made.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.2.

    Args:
        vocabulary: The tokens by id, in GPT-2's spelling of bytes.
        merges: Pairs of tokens, "a b", in the order in which they are merged.
    """

    lower_case = strip_accents = False

    def __init__(self, vocabulary: Sequence[str], merges: Sequence[str]):
        self.vocabulary, self.merges = list(vocabulary), list(merges)
        table = {token: index for index, token in enumerate(self.vocabulary)}
        if END_OF_TEXT not in table:
            raise UserError(f"the vocabulary has no {END_OF_TEXT}, which begins and ends every text of a GPT-2")
        self.end, self.newline = table[END_OF_TEXT], table["Ċ"]
        pairs = [tuple(merge.split(" ")) for merge in self.merges]
        self._tokenizer = Tokenizer(models.BPE(vocab=table, merges=pairs))
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without the tokens at its ends."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def keras_tokenizer(self):
        """The same tokenizer as a `keras_hub.models.GPT2Tokenizer`."""
        import keras_hub

        table = {token: index for index, token in enumerate(self.vocabulary)}
        return keras_hub.models.GPT2Tokenizer(vocabulary=table, merges=self.merges)

    def write_merges(self, folder: str | Path) -> None:
        """Write `merges.txt` into a folder; the vocabulary stands in the token files."""
        (Path(folder) / MERGES).write_text("\n".join(self.merges) + "\n", encoding="utf-8")


def read_byte_pairs(vocabulary: Sequence[str], folder: str | Path) -> BytePairs:
    """The tokenizer of an earlier run.

    Raises:
        UserError: `merges.txt` is not there.
    """
    path = Path(folder) / MERGES
    if not path.is_file():
        raise UserError(f"{path} is missing, so the vocabulary cannot be used again: begin a new run")
    # Not splitlines(), which also breaks at characters that stand for bytes, such as U+0085.
    return BytePairs(vocabulary, path.read_text("utf-8").rstrip("\n").split("\n"))


def learn_byte_pairs(texts: Iterable[str], size: int, min_frequency: int = 2) -> BytePairs:
    """Learn a vocabulary from text.

    Args:
        texts: Sentences; iterated over once.
        size: Tokens wanted, the end of text and the 256 bytes included.
        min_frequency: Pairs seen less often are not merged.

    Raises:
        UserError: The text cannot fill a vocabulary of this size, or it leaves no room for merges.

    Example:
        >>> learned = learn_byte_pairs(["low lower lowest", "low lower"], size=261)
        >>> learned.vocabulary[257:], learned.encode(["low"])
        (['lo', 'low', 'Ġlow', 'Ġlowe'], [[258]])
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if size <= 1 + len(alphabet):
        raise UserError(f"--vocab-size {size} leaves no room beside the 256 bytes and {END_OF_TEXT}; give a larger one")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # Named as special tokens, the bytes have fixed ids; else the same text would give other ids each time. As in GPT-2, id 0, with
    # which KerasHub pads, is not the end of text: it would take padding for a text that has ended.
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        initial_alphabet=alphabet,
        special_tokens=[*alphabet, END_OF_TEXT],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    if len(tokens) < size:
        raise UserError(
            f"the corpus can fill a vocabulary of {len(tokens)} tokens at most, but --vocab-size is {size}; "
            "give a smaller --vocab-size or more text"
        )
    return BytePairs(tokens, [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
