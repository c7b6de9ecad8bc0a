"""Train a search by meaning from questions and their documents, from a file to a run folder and its page."""

from __future__ import annotations

import logging

from tl_keras.data.pairs import RetrievalPairs, read_retrieval_pairs
from tl_keras.errors import UserError
from tl_keras.evaluation.similarity import nearest
from tl_keras.models.body import choose_pooling
from tl_keras.models.pair_builders import bi_encoder
from tl_keras.serving.evaluate import evaluate_retrieval
from tl_keras.serving.predict import as_predictor
from tl_keras.tasks.page import MISTAKES, cell, in_shell, kept_line, section, table, write_page
from tl_keras.tasks.vector_run import VectorRun, lexical_weight_of

logger = logging.getLogger(__name__)


class RetrievalRun(VectorRun):
    """Questions to documents; settings are `RetrievalSettings`."""

    task = "retrieval"
    monitor, measure = "val_mrr", "MRR"
    may_keep_start = True

    def read(self) -> tuple[RetrievalPairs, RetrievalPairs]:
        """Training and validation pairs as the settings say; without a validation file, split by document.

        Raises:
            UserError: a file cannot be read, or there is only one document to choose from.
        """
        settings = self.settings
        columns = (settings.text, settings.text_pair)
        options = self.options("separator", "quoting", "encoding", "on_empty")
        train = read_retrieval_pairs(settings.train, *columns, **options)
        valid = None if settings.validation is None else read_retrieval_pairs(settings.validation, *columns, **options)
        train, valid = self.divide(train, valid)
        if len(train.documents) < 2:
            raise UserError(
                f"{settings.train}: every training question has the same document; there is nothing to tell apart."
            )
        if len(valid.documents) < 10:
            logger.warning(
                "Only %d documents to search in validation: its metrics will look too good, and tell little.",
                len(valid.documents),
            )
        return train, valid

    @property
    def lexical_weight_setting(self) -> str:
        """How much shared letters count; unless told, chosen where the encoder's makers suggest that they should."""
        return self.settings.lexical_weight or ("auto" if self.encoder.suggested.get("lexical_weight") else "0")

    @property
    def pooling(self) -> str:
        """As set; else what the encoder was made for, else the mean."""
        return choose_pooling(self.encoder, self.settings.pooling, usual="mean")

    def build(self):
        """A sentence encoder."""
        return self.sentence_encoder([*self.train.texts, *self.train.documents], self.pooling)

    def training_model(self, model):
        """The sentence encoder, twice: the documents of a batch are one another's wrong answers."""
        return bi_encoder(model, "in-batch", scale=self.settings.scale, learning_rate=self.settings.learning_rate)

    def batches(self, examples, training):
        """Questions with their documents."""
        return self.encoder.pair_batches(examples, **self.batch_settings(training))

    def evaluate(self):
        """Recall, MRR and nDCG of a search among the validation documents."""
        return evaluate_retrieval(self.model, self.valid)

    def monitored_value(self, report):
        """The mean reciprocal rank."""
        return report.mrr

    def extra_config(self, report):
        """How many documents there were; what was chosen."""
        counts = {"train_documents": len(self.train.documents), "validation_documents": len(self.valid.documents)}
        return {"pooling": self.pooling, **counts, "lexical_weight": lexical_weight_of(self.model)}

    def write_page(self, folder, outcome):
        """Figures before and after, the questions that went wrong."""
        config, report = outcome.config, outcome.report
        metrics = {"trained": report.to_dict(), "before training": config["before_training"]}
        if config["kept_weights_from_before_training"]:
            metrics = {"before training (kept)": report.to_dict()}
        names = [name for name in report.to_dict() if name not in {"examples", "documents"}]
        rows = [[kind, *(f"{row[name]:.4f}" for name in names)] for kind, row in metrics.items()]
        write_page(
            folder,
            outcome,
            made_of=f"bi-encoder, in-batch negatives, encoder `{config['encoder']}`, {config['transfer']}, pooling {config['pooling']}",
            data=f", columns `{config['text']}` and `{config['text_pair']}`",
            kept=kept_line(outcome, "MRR"),
            metrics=[
                f"{report.examples} questions, {report.documents} documents to search in:",
                "",
                *table(["", *names], rows),
            ],
            mistakes=_missed(self.model, self.valid),
            use=f'tl-keras index --encoder {in_shell(config["out"])} --data FILE --out INDEX\ntl-keras search INDEX "a question"',
            output="gives `embedding`; texts near one another have a high dot product",
        )


def _missed(model, valid: RetrievalPairs) -> list[str]:
    """The questions for which a wrong document came first, the most confident first."""
    predictor = as_predictor(model)
    questions, relevant = valid.questions()
    documents = valid.documents
    vectors = predictor.unit_vectors(documents.tolist(), role="passage")
    found, scores = nearest(vectors, predictor.unit_vectors(questions), 1)
    wrong = [i for i in range(len(questions)) if found[i, 0] not in relevant[i]]
    wrong.sort(key=lambda i: -scores[i, 0])
    rows = [
        [cell(questions[i]), cell(documents[min(relevant[i])]), cell(documents[found[i, 0]]), f"{scores[i, 0]:.2f}"]
        for i in wrong[:MISTAKES]
    ]
    return section("Wrong document first", ["question", "right document", "found", "cosine"], rows)
