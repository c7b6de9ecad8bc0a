"""The page an answerer's run leaves for people."""

from __future__ import annotations

import logging
from pathlib import Path

from tl_keras.data.questions import QuestionExamples
from tl_keras.errors import UserError
from tl_keras.evaluation.plots import plot_history
from tl_keras.evaluation.question_answering import QuestionReport, score_answers
from tl_keras.runs.report import _cell
from tl_keras.serving.predict import predict

logger = logging.getLogger(__name__)

MISTAKES = 10


def write_question_report(
    folder: Path,
    config: dict,
    report: QuestionReport,
    history: dict,
    best_epoch: int | None,
    seconds: float,
    model,
    valid: QuestionExamples,
    threshold_chosen: bool,
) -> None:
    """Write `plots/training.png` (where matplotlib is installed) and `report.md`.

    Args:
        folder: the run folder.
        config: what `config.json` holds.
        report: on the validation questions.
        history: of `fit`.
        best_epoch: from 0, or None.
        seconds: of training.
        model: to look for the surest mistakes with.
        valid: validation questions.
        threshold_chosen: whether the null threshold was chosen on these questions.
    """
    drawn = _draw(folder / "plots", history, best_epoch)
    unit = "words" if report.normalisation == "squad" else "characters"
    chosen = []
    if best_epoch is not None:
        chosen.append(f"- weights kept: those after epoch {best_epoch + 1}, with the best F1 on the questions below")
    if threshold_chosen:
        chosen.append(f"- null threshold {config['null_threshold']:.3f}, chosen for the best F1 on them as well")
    if chosen:
        chosen[-1] += "; so their figures flatter a little, the more the fewer they are"
    parts = [("all", {"examples": report.examples, "exact_match": report.exact_match, "f1": report.f1})]
    if report.no_answer is not None:
        parts += [("with an answer", report.has_answer), ("without an answer", report.no_answer)]
    lines = [
        f"# {config['task']}: {Path(config['train']).name}",
        "",
        f"- encoder `{config['encoder']}`, {config['transfer']}, seq_length {config['seq_length']}: longer contexts go through "
        f"overlapping windows, questions are cut at {config['max_question_length']} pieces",
        f"- {config['train_examples']} training and {config['validation_examples']} validation questions",
        f"- {config['epochs']} epochs of batches of {config['batch_size']}, peak learning rate {config['learning_rate']:.2g}, "
        f"seed {config['seed']}: {seconds:.0f} s of training with {config['keras']}",
        *chosen,
        "",
        "## On the validation questions",
        "",
        f"Normalised as by {report.normalisation}; F1 over {unit}.",
        "",
        "| questions | exact match | F1 | number |",
        "|---|---|---|---|",
        *(f"| {name} | {part['exact_match']:.4f} | {part['f1']:.4f} | {part['examples']} |" for name, part in parts),
        "",
        *(["![training](plots/training.png)", ""] if drawn else []),
        *_mistakes(model, valid, report.normalisation),
        "## Use it",
        "",
        "```",
        f'tl-keras predict {config["out"]} "QUESTION" "CONTEXT"',
        f"tl-keras evaluate {config['out']} --data FILE",
        "```",
        "",
        "`saved_model/1` takes `question` and `context` (strings) and gives `answer`, `start`, `end` (in characters) and `score`; it needs "
        "only `tensorflow` and `tensorflow_text`.",
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", "utf-8")


def _draw(folder: Path, history: dict, best_epoch: int | None) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if history:
            plot_history(history, folder / "training.png", best_epoch)
            return True
    except UserError as error:
        logger.warning("No plots: %s", error)
    return False


def _mistakes(model, valid: QuestionExamples, normalisation: str) -> list[str]:
    """The answers that share nothing with a right one, surest first: where wrong answers in the data and blind spots show."""
    frame = predict(model, valid.questions.tolist(), valid.contexts.tolist())
    right = [[answer.text for answer in given] for given in valid.answers]
    frame["right"] = [" / ".join(texts) or "none" for texts in right]
    wrong = frame[score_answers(frame.answer, right, normalisation)[1] == 0]
    wrong = wrong.sort_values("score", ascending=False, kind="stable").head(MISTAKES)
    if not len(wrong):
        return []
    rows = [
        f"| {_cell(row.question)} | {_cell(row.right)} | {_cell(row.answer or 'none')} | {row.score:.2f} |"
        for row in wrong.itertuples()
    ]
    return ["## Surest mistakes", "", "| question | right | given | score |", "|---|---|---|---|", *rows, ""]
