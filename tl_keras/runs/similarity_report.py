"""The pages that runs of sentence similarity and of retrieval leave for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tl_keras.data.pairs import RetrievalPairs, ScoredExamples
from tl_keras.evaluation.retrieval import RetrievalReport
from tl_keras.evaluation.similarity import SimilarityReport
from tl_keras.retrieval.exact import nearest
from tl_keras.runs.report import _cell
from tl_keras.runs.tagging_report import _draw
from tl_keras.serving.predict import as_predictor

MISTAKES = 10


def write_similarity_report(
    folder: Path,
    config: dict,
    report: SimilarityReport,
    history: dict,
    best_epoch: int | None,
    seconds: float,
    model,
    valid: ScoredExamples,
) -> None:
    """Write `plots/training.png` (where matplotlib is installed) and `report.md`.

    Args:
        folder: the run folder.
        config: what `config.json` holds.
        report: on the validation examples.
        history: of `fit`.
        best_epoch: from 0, or None.
        seconds: of training.
        model: to look for the largest disagreements with.
        valid: validation examples.
    """
    low, high = config["score_range"]
    towers = config["architecture"] == "bi-encoder"
    kind = f"{config['architecture']}, {config['loss']} loss" if towers else config["architecture"]
    figures = [f"Spearman **{report.spearman:.4f}**, Pearson **{report.pearson:.4f}**"]
    if report.mean_absolute_error is not None:
        figures[0] += (
            f", mean absolute error {report.mean_absolute_error:.4f}, root mean squared error "
            f"{report.root_mean_squared_error:.4f} (scores from {low:g} to {high:g})"
        )
    if config["before_training"]:
        before = config["before_training"]
        figures[0] += f" (before training: {before['spearman']:.4f} and {before['pearson']:.4f})"
    output = (
        "gives `embedding`; the likeness of two texts is the cosine of their vectors"
        if towers
        else "takes `text` and `text_pair` and gives `score`"
    )
    columns = f"columns `{config['text']}`, `{config['text_pair']}` and `{config['label']}`"
    lines = [
        *_head(config, kind, columns, best_epoch, seconds, "Spearman"),
        *figures,
        "",
        *_picture(folder, history, best_epoch),
        *_disagreements(model, valid, towers),
        *_use(config, f'tl-keras predict {config["out"]} "one text" "another text"', output),
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", "utf-8")


def write_retrieval_report(
    folder: Path,
    config: dict,
    report: RetrievalReport,
    history: dict,
    best_epoch: int | None,
    seconds: float,
    model,
    valid: RetrievalPairs,
) -> None:
    """Write `plots/training.png` (where matplotlib is installed) and `report.md`; the arguments are as above."""
    rows = {"trained": report.to_dict(), "before training": config["before_training"]}
    if config["kept_weights_from_before_training"]:
        rows = {"before training (kept)": report.to_dict()}
    names = [name for name in report.to_dict() if name not in {"examples", "documents"}]
    columns = f"columns `{config['text']}` and `{config['text_pair']}`"
    lines = [
        *_head(config, "bi-encoder, in-batch negatives", columns, best_epoch, seconds, "MRR"),
        f"{report.examples} questions, {report.documents} documents to search in:",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        *(f"| {kind} | {' | '.join(f'{row[name]:.4f}' for name in names)} |" for kind, row in rows.items()),
        "",
        *_picture(folder, history, best_epoch),
        *_missed(model, valid),
        *_use(
            config,
            f'tl-keras index --encoder {config["out"]} --data FILE --out INDEX\ntl-keras search INDEX "a question"',
            "gives `embedding`; texts near one another have a high dot product",
        ),
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", "utf-8")


def _head(config: dict, kind: str, columns: str, best_epoch: int | None, seconds: float, measure: str) -> list[str]:
    kept = "" if best_epoch is None else f"- weights kept: those after epoch {best_epoch + 1}, with the best {measure}"
    if config["kept_weights_from_before_training"]:
        kept = f"- weights kept: those from before training, which no epoch beat in {measure}"
    return [
        f"# {config['task']}: {Path(config['train']).name}",
        "",
        f"- {kind}, encoder `{config['encoder']}`, {config['transfer']}, pooling {config['pooling']}, "
        f"seq_length {config['seq_length']}",
        f"- {config['train_examples']} training and {config['validation_examples']} validation examples, {columns}",
        f"- {config['epochs']} epochs of batches of {config['batch_size']}, peak learning rate {config['learning_rate']:.2g}, "
        f"seed {config['seed']}: {seconds:.0f} s of training with {config['keras']}",
        kept,
        "",
        "## On the validation examples",
        "",
    ]


def _picture(folder: Path, history: dict, best_epoch: int | None) -> list[str]:
    return ["![training](plots/training.png)", ""] if _draw(folder / "plots", history, best_epoch) else []


def _use(config: dict, commands: str, output: str) -> list[str]:
    return [
        "## Use it",
        "",
        "```",
        commands,
        f"tl-keras evaluate {config['out']} --data FILE",
        "```",
        "",
        f"`saved_model/1` takes strings and needs only `tensorflow` and `tensorflow_text`; it {output}.",
    ]


def _disagreements(model, valid: ScoredExamples, towers: bool) -> list[str]:
    """The pairs that the model ranks most unlike people: where wrong scores and blind spots show."""
    predictor = as_predictor(model)
    predicted = (predictor.similarity if towers else predictor.scores)(valid.texts, valid.text_pairs)
    true_ranks, ranks = (np.argsort(np.argsort(values, kind="stable")) for values in (valid.labels, predicted))
    worst = np.argsort(-np.abs(true_ranks - ranks), kind="stable")[:MISTAKES]
    rows = [
        f"| {_cell(valid.texts[i])} | {_cell(valid.text_pairs[i])} | {valid.labels[i]:g} | {predicted[i]:.2f} |"
        for i in worst
    ]
    name = "cosine" if towers else "predicted"
    return [
        "## Largest disagreements in rank",
        "",
        f"| text | other text | score | {name} |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _missed(model, valid: RetrievalPairs) -> list[str]:
    """The questions for which a wrong document came first, the surest first."""
    predictor = as_predictor(model)
    questions, relevant = valid.questions()
    documents = valid.documents
    found, scores = nearest(predictor.unit_vectors(documents.tolist()), predictor.unit_vectors(questions), 1)
    wrong = [i for i in range(len(questions)) if found[i, 0] not in relevant[i]]
    if not wrong:
        return []
    wrong.sort(key=lambda i: -scores[i, 0])
    rows = [
        f"| {_cell(questions[i])} | {_cell(documents[min(relevant[i])])} | {_cell(documents[found[i, 0]])} | {scores[i, 0]:.2f} |"
        for i in wrong[:MISTAKES]
    ]
    return [
        "## Wrong document first",
        "",
        "| question | right document | found | cosine |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
