"""The whole way from text files to a BERT encoder pair."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tl_keras.errors import UserError
from tl_keras.pretraining.batches import BatchMaker
from tl_keras.pretraining.bert_tasks import Masking
from tl_keras.pretraining.corpus import SentenceSample, read_documents, scan_corpora
from tl_keras.pretraining.model import BertPretrainer, Trainer, backbone_shape, build_backbone, flops_per_token
from tl_keras.pretraining.model_card import write_model_card
from tl_keras.pretraining.pair_start import MLM, NSP_HEAD, POOLER, start_from_pair
from tl_keras.pretraining.pair_tokenizer import PairTokenizer
from tl_keras.pretraining.run import LanguageModelRun, can_plot
from tl_keras.pretraining.run_files import draft_in, matmul_rate, plot_losses
from tl_keras.pretraining.settings import BertSettings
from tl_keras.pretraining.token_files import TokenFile, TokenFolder, open_token_files
from tl_keras.pretraining.token_vectors import start_from_token_vectors
from tl_keras.pretraining.vocabulary import WordPiece, learn_vocabulary, read_vocabulary, vocabulary_hash

logger = logging.getLogger(__name__)

VOCABULARY = "vocabulary"
"""The folder of a run that keeps the vocabulary of the pair it began from, where that is none of BERT's kind."""
Tokenizer = WordPiece | PairTokenizer


class BertPretraining(LanguageModelRun):
    """One pre-training run: prepared on construction, trained by `run`, turned into an encoder pair by `export`."""

    libraries = ("tl_keras", "keras", "keras-hub", "tokenizers", "numpy", "tensorflow", "tensorflow-text", "jax")
    settings: BertSettings
    trainer_class = Trainer

    def prepare(self):
        """Open the pair to continue from, if there is one; find or learn the vocabulary; find or write the token files."""
        settings = self.settings
        self._pair = None
        if settings.init:
            self._pair = start_from_pair(settings.init, settings.dropout, settings.precision, self._sample())
        tokens, self.tokenizer = self._prepare_tokens(self._pair.tokenizer if self._pair else None)
        return tokens

    def start(self):
        """The pair's model, or a new one."""
        self.model = self._pair.model if self._pair else self._new_model()
        self._suggested = self._pair.suggested if self._pair else {}
        self._new_parts = self._pair.new_parts if self._pair else ()
        if MLM in self._new_parts:
            self._start_from_frequencies()
        if isinstance(self.tokenizer, PairTokenizer):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.tokenizer.write(self.folder / VOCABULARY)

    def reopen(self):
        """A model of the shape that the run had when it began, with the vocabulary of the token files."""
        kept = self.folder / VOCABULARY
        self.tokenizer = PairTokenizer.read(kept) if self.earlier.get("tokenizer") else self.tokens.word_piece()
        dropout, precision = self.settings.dropout, self.settings.precision
        self.model = BertPretrainer(build_backbone(**self.earlier["shape"], dropout=dropout, precision=precision))
        self._suggested = self.earlier.get("suggested", {})
        self._new_parts = tuple(self.earlier.get("new_parts", ()))

    def batch_makers(self, schedule):
        """Rows of masked tokens."""
        settings = self.settings
        if schedule.longest > self.model.backbone.max_sequence_length:
            raise UserError(
                f"--length-schedule asks for rows of {schedule.longest} tokens, but the encoder has "
                f"{self.model.backbone.max_sequence_length} positions"
            )
        masking = Masking(settings.mask_fraction, settings.mask, settings.random, settings.whole_words)
        batches = self._batch_maker(self.tokens.train, masking)
        batches.check(schedule.longest)
        # Measured with the published fraction and single tokens, so that figures of different runs can be compared.
        return batches, self._batch_maker(self.tokens.heldout, Masking())

    def extra_config(self):
        """The network's shape, what suits the encoder, and what of its beginning the run goes on to need."""
        facts = {"shape": backbone_shape(self.model.backbone), "suggested": self._suggested}
        if isinstance(self.tokenizer, PairTokenizer):
            facts["tokenizer"] = self.tokenizer.pair_vocabulary.info()["tokenizer"]
        return facts | {"new_parts": self._new_parts}

    def versions(self):
        """Those of the libraries, and Keras's backend."""
        return {**super().versions(), "backend": keras.backend.backend()}

    def write_card(self):
        """Write `model_card.md` and `plots/loss.png`."""
        if can_plot():
            losses = {"mlm_loss": "masked words", "nsp_loss": "next sentence"}
            plot_losses(self.folder, losses, "tokens", "cross-entropy (nats)")
        write_model_card(self.folder)

    def export(self) -> Path:
        """Write the encoder pair into the run folder; needs TensorFlow.

        Returns:
            The folder.
        """
        meta = self.tokens.meta
        info = {
            "name": self.settings.name or self.folder.name,
            **({"continued_from": Path(self.settings.init).name} if self.settings.init else {}),
            # The pooler has only ever told next sentences from others; the vectors of the tokens carry the text.
            "suggested": {"pooling": "mean", **self._suggested},
            "corpora": [{key: corpus[key] for key in ("path", "sha256", "licence")} for corpus in meta["corpora"]],
        }
        seq_length = min(128, self.model.backbone.max_sequence_length)
        export_encoder_pair(
            self.folder, self.model, self.tokenizer, seq_length, self.settings.finetune_dropout, info, self.keeps_pooler
        )
        return self.folder

    @property
    def keeps_pooler(self) -> bool:
        """Whether the pair gets the pooler that the run trained.

        One that is new has learned from sentence pairs, or nothing at all. Where the vector at the first token is what the encoder's makers
        suggest, and there was no pooler, a new one would stand in its way.
        """
        meant = self._suggested.get("pooling") != "cls"
        return POOLER not in self._new_parts or (meant and self._has_sentence_pairs())

    def _start_from_frequencies(self) -> None:
        """Let a new head begin with how frequent each token is, which it need not learn then."""
        bias = self.model.mlm_head._bias
        counts = np.bincount(self.tokens.train.tokens, minlength=bias.shape[0]) + 1
        bias.assign(np.log(counts / counts.sum()))

    def _has_sentence_pairs(self) -> bool:
        train = self.tokens.train
        return len(train.sentences) > len(train.documents)

    def _sample(self) -> list[str]:
        """Some sentences of the corpora, to try a tokenizer on."""
        sentences: list[str] = []
        for corpus in scan_corpora(self.settings.corpus, text=self.settings.text):
            documents = read_documents(corpus)
            while len(sentences) < 200 and (document := next(documents, None)):
                sentences += document
        return sentences[:200]

    @property
    def token_folder(self):
        """Where the token files lie, those of another run perhaps."""
        return Path(self.settings.tokens or super().token_folder)

    def _prepare_tokens(self, given: Tokenizer | None) -> tuple[TokenFolder, Tokenizer]:
        settings = self.settings
        wanted = read_vocabulary(settings.vocab) if settings.vocab else None
        if given and wanted and given.vocabulary != wanted:
            raise UserError(
                f"--init {settings.init} has a vocabulary of its own ({len(given.vocabulary)} tokens), and --vocab is "
                "another one; its weights mean nothing for other tokens, so leave out --vocab"
            )
        if not settings.corpus:
            tokens = open_token_files(self.token_folder)
            for name, vocabulary in (("--init", given and given.vocabulary), ("--vocab", wanted)):
                if vocabulary and vocabulary_hash(vocabulary) != tokens.meta["vocabulary_sha256"]:
                    raise UserError(
                        f"the token files in {self.token_folder} were written with another vocabulary than {name} has"
                    )
            return tokens, given or tokens.word_piece()
        corpora = self.scan_corpora()
        if not given:
            vocabulary = wanted
            if vocabulary is None:
                vocabulary = learn_vocabulary(
                    SentenceSample(corpora, settings.lowercase_fraction, settings.seed),
                    settings.vocab_size,
                    settings.lower_case,
                    alphabet_size=settings.alphabet_size,
                )
                logger.info("learned a vocabulary of %d tokens", len(vocabulary))
            given = WordPiece(vocabulary, settings.lower_case)
        return self.write_tokens(corpora, given, settings.lowercase_fraction), given

    def _new_model(self) -> BertPretrainer:
        settings = self.settings
        backbone = build_backbone(
            vocabulary_size=len(self.tokenizer.vocabulary),
            layers=settings.layers,
            width=settings.width,
            heads=settings.heads,
            intermediate=settings.intermediate,
            max_positions=settings.max_positions,
            dropout=settings.dropout,
            precision=settings.precision,
        )
        start_from_token_vectors(backbone, self.tokens.train, self.tokenizer.vocabulary, settings)
        return BertPretrainer(backbone)

    def _batch_maker(self, part: TokenFile, masking: Masking) -> BatchMaker:
        return BatchMaker(
            part,
            self.tokenizer.special,
            len(self.tokenizer.vocabulary),
            masking,
            token_budget=self.settings.batch_tokens,
            seed=self.settings.seed,
            continuation=self.tokenizer.continuation,
            packing=self.tokenizer.packing,
        )

    def metrics(self):
        """How much of the machine's arithmetic the run used."""
        flops, rate = flops_per_token(self.model, self.settings.mask_fraction), matmul_rate()
        speed = self.trainer.speed
        return {
            "flops_per_token": flops,
            "training_gflop_per_second": round(speed * flops / 1e9, 2),
            "matmul_gflop_per_second": round(rate / 1e9, 2),
            "fraction_of_matmul_rate": round(speed * flops / rate, 3),
        }


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
