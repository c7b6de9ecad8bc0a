"""Train a model of how alike two texts are, from a file to a run folder and its page."""

from __future__ import annotations

import numpy as np

from tl_keras.data.pairs import ScoredExamples, read_scored
from tl_keras.models.body import choose_pooling
from tl_keras.models.builders import text_regressor
from tl_keras.models.pair_builders import bi_encoder
from tl_keras.serving.evaluate import evaluate_similarity
from tl_keras.serving.predict import as_predictor
from tl_keras.tasks.page import MISTAKES, cell, in_shell, kept_line, section, write_page
from tl_keras.tasks.vector_run import VectorRun, lexical_weight_of


class SentenceSimilarityRun(VectorRun):
    """Pairs of texts to a number; settings are `SentenceSimilaritySettings`."""

    task = "sentence-similarity"
    monitor, measure = "val_spearman", "Spearman"

    @property
    def may_keep_start(self) -> bool:
        """The vectors of a bi-encoder can be compared before any training."""
        return self.settings.towers

    @property
    def uses_pooled_output(self) -> bool:
        """A cross-encoder's is; of a bi-encoder what learns is the matrix on top of each tower."""
        return not self.settings.towers

    def read(self) -> tuple[ScoredExamples, ScoredExamples]:
        """Training and validation examples as the settings say.

        Raises:
            UserError: a file cannot be read.
        """
        settings = self.settings
        options = self.options("separator", "quoting", "encoding", "on_empty")
        columns = (settings.text, settings.text_pair, settings.label)
        train = read_scored(settings.train, *columns, score_range=settings.score_range, **options)
        valid = None
        if settings.validation is not None:
            valid = read_scored(settings.validation, *columns, score_range=train.score_range, **options)
        return self.divide(train, valid)

    @property
    def pooling(self) -> str:
        """As set; else what the encoder was made for, else the mean for vectors and `cls` where both texts are read together."""
        return choose_pooling(self.encoder, self.settings.pooling, usual="mean" if self.settings.towers else "cls")

    @property
    def lexical_weight_setting(self) -> str:
        """How much shared letters count; chosen unless told."""
        return self.settings.lexical_weight or "auto"

    def build(self):
        """A sentence encoder, or a regressor that reads both texts."""
        settings = self.settings
        if settings.towers:
            return self.sentence_encoder([*self.train.texts, *self.train.text_pairs], self.pooling)
        return text_regressor(
            self.encoder,
            self.train.score_range,
            settings.plan,
            pooling=self.pooling,
            dropout=settings.dropout,
            hidden=settings.hidden or (),
            learning_rate=settings.learning_rate,
        )

    def training_model(self, model):
        """The sentence encoder, twice."""
        settings = self.settings
        if not settings.towers:
            return model
        return bi_encoder(
            model, settings.loss, score_range=self.train.score_range, learning_rate=settings.learning_rate
        )

    def batches(self, examples, training):
        """Pairs, as two inputs or as one; without training in order of length."""
        examples = examples if training else examples.sorted_by_length()
        options = self.batch_settings(training)
        if self.settings.towers:
            return self.encoder.pair_batches(examples, **options)
        return self.source.batches(examples, **options)

    def evaluate(self):
        """Spearman, Pearson and their like."""
        return evaluate_similarity(self.model, self.valid)

    def monitored_value(self, report):
        """Spearman's rank correlation."""
        return report.spearman

    def extra_config(self, report):
        """What was chosen or read from the data."""
        weight = {"lexical_weight": lexical_weight_of(self.model)} if self.settings.towers else {}
        return {"pooling": self.pooling, "score_range": list(self.train.score_range), **weight}

    def export_options(self):
        """Whether the export takes pairs."""
        return {"pairs": not self.settings.towers}

    def write_page(self, folder, outcome):
        """Correlations, the largest disagreements."""
        config, report = outcome.config, outcome.report
        low, high = config["score_range"]
        towers = config["architecture"] == "bi-encoder"
        kind = f"{config['architecture']}, {config['loss']} loss" if towers else config["architecture"]
        metrics = f"Spearman **{report.spearman:.4f}**, Pearson **{report.pearson:.4f}**"
        if report.mean_absolute_error is not None:
            metrics += (
                f", mean absolute error {report.mean_absolute_error:.4f}, root mean squared error "
                f"{report.root_mean_squared_error:.4f} (scores from {low:g} to {high:g})"
            )
        if towers:
            before = config["before_training"]
            metrics += f" (before training: {before['spearman']:.4f} and {before['pearson']:.4f})"
        write_page(
            folder,
            outcome,
            made_of=f"{kind}, encoder `{config['encoder']}`, {config['transfer']}, pooling {config['pooling']}",
            data=f", columns `{config['text']}`, `{config['text_pair']}` and `{config['label']}`",
            kept=kept_line(outcome, "Spearman"),
            metrics=[metrics, ""],
            mistakes=_disagreements(self.model, self.valid, towers),
            use=f'tl-keras predict {in_shell(config["out"])} "one text" "another text"',
            output="gives `embedding`; the similarity of two texts is the cosine of their vectors"
            if towers
            else "takes `text` and `text_pair` and gives `score`",
        )


def _disagreements(model, valid: ScoredExamples, towers: bool) -> list[str]:
    """The pairs that the model ranks most unlike people: where wrong scores and blind spots show."""
    predictor = as_predictor(model)
    predicted = (predictor.similarity if towers else predictor.scores)(valid.texts, valid.text_pairs)
    true_ranks, ranks = (np.argsort(np.argsort(values, kind="stable")) for values in (valid.labels, predicted))
    worst = np.argsort(-np.abs(true_ranks - ranks), kind="stable")[:MISTAKES]
    rows = [
        [cell(valid.texts[i]), cell(valid.text_pairs[i]), f"{valid.labels[i]:g}", f"{predicted[i]:.2f}"] for i in worst
    ]
    columns = ["text", "other text", "score", "cosine" if towers else "predicted"]
    return section("Largest disagreements in rank", columns, rows)
