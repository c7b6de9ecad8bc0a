"""The page a run of retrieval leaves for people."""

from __future__ import annotations

from pathlib import Path

from tl_keras.data.pairs import RetrievalPairs
from tl_keras.evaluation.nearest import nearest
from tl_keras.serving.predict import as_predictor
from tl_keras.tasks.outcome import Outcome
from tl_keras.tasks.page import MISTAKES, cell, draw, section, table, write_page
from tl_keras.tasks.similarity_page import kept_line


def write_retrieval_page(folder: Path, outcome: Outcome, model, valid: RetrievalPairs) -> None:
    """Write `report.md` and, where matplotlib is installed, `plots/training.png`.

    Args:
        folder: the run folder.
        outcome: of the run.
        model: to look for the questions that went wrong with.
        valid: validation pairs.
    """
    config, report = outcome.config, outcome.report
    draw(folder, outcome)
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
        mistakes=_missed(model, valid),
        use=f'tl-keras index --encoder {config["out"]} --data FILE --out INDEX\ntl-keras search INDEX "a question"',
        output="gives `embedding`; texts near one another have a high dot product",
    )


def _missed(model, valid: RetrievalPairs) -> list[str]:
    """The questions for which a wrong document came first, the most confident first."""
    predictor = as_predictor(model)
    questions, relevant = valid.questions()
    documents = valid.documents
    found, scores = nearest(predictor.unit_vectors(documents.tolist()), predictor.unit_vectors(questions), 1)
    wrong = [i for i in range(len(questions)) if found[i, 0] not in relevant[i]]
    wrong.sort(key=lambda i: -scores[i, 0])
    rows = [
        [cell(questions[i]), cell(documents[min(relevant[i])]), cell(documents[found[i, 0]]), f"{scores[i, 0]:.2f}"]
        for i in wrong[:MISTAKES]
    ]
    return section("Wrong document first", ["question", "right document", "found", "cosine"], rows)
