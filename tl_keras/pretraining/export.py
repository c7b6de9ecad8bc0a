"""A finished run -> an encoder pair with both heads; this is the one step of pre-training that needs TensorFlow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from keras import ops

from tl_keras.errors import UserError
from tl_keras.pretraining.model import BertPretrainer
from tl_keras.pretraining.pair_start import NSP_HEAD
from tl_keras.pretraining.pair_tokenizer import PairTokenizer
from tl_keras.pretraining.run_files import draft_in
from tl_keras.pretraining.vocabulary import WordPiece


def export_encoder_pair(
    folder: str | Path,
    model: BertPretrainer,
    tokenizer: WordPiece | PairTokenizer,
    seq_length: int = 128,
    dropout: float = 0.1,
    info: dict | None = None,
    pooler: bool = True,
) -> Path:
    """Write `encoder/`, `preprocess/`, `info.json` and the next-sentence head into a run folder.

    Args:
        folder: The run folder; parts that are there already are replaced.
        model: The trained model. The pair holds the masked-LM head as `encoder.mlm`.
        tokenizer: Its tokenizer, whose vocabulary the pair gets.
        seq_length: Length the preprocessor packs to when none is asked for.
        dropout: Fraction of dropped units when the pair is fine-tuned, whatever pre-training used.
        info: Facts for `info.json`.
        pooler: Whether the pair has a pooler; without one `pooled_output` is the last block's output at the first token.

    Returns:
        The folder.

    Raises:
        UserError: TensorFlow is not there.
    """
    try:
        from tl_keras.encoders.encoder_weights import read_backbone
        from tl_keras.encoders.pair import write_encoder_pair
    except ImportError as error:
        raise UserError(
            "writing the encoder pair needs tensorflow and tensorflow-text; the training is saved: run the command "
            "with --resume on a machine that has them"
        ) from error
    folder = Path(folder)
    weights = dataclasses.replace(read_backbone(model.backbone), dropout=dropout, attention_dropout=dropout)
    if not pooler:
        weights.arrays = {name: array for name, array in weights.arrays.items() if not name.startswith("pooler")}
    with draft_in(folder) as draft:
        write_encoder_pair(
            draft,
            weights,
            tokenizer.pair_vocabulary,
            seq_length=seq_length,
            mlm_head=model.mlm_head,
            info=info,
        )
        np.savez(
            draft / NSP_HEAD,
            kernel=ops.convert_to_numpy(model.nsp_head.kernel),
            bias=ops.convert_to_numpy(model.nsp_head.bias),
        )
    return folder
