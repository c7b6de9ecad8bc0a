"""The page an answerer's run leaves for people."""

from __future__ import annotations

from pathlib import Path

from tl_keras.data.questions import QuestionExamples
from tl_keras.evaluation.question_answering import score_answers
from tl_keras.serving.predict import predict
from tl_keras.tasks.outcome import Outcome
from tl_keras.tasks.page import MISTAKES, best_epoch_line, cell, draw, section, table, write_page


def write_question_page(
    folder: Path, outcome: Outcome, model, valid: QuestionExamples, *, threshold_chosen: bool
) -> None:
    """Write `report.md` and, where matplotlib is installed, `plots/training.png`.

    Args:
        folder: the run folder.
        outcome: of the run.
        model: to look for the most confident errors with.
        valid: validation questions.
        threshold_chosen: whether the null threshold was chosen on these questions.
    """
    config, report = outcome.config, outcome.report
    draw(folder, outcome)
    kept = best_epoch_line(outcome, "with the best F1 on the questions below")
    if threshold_chosen:
        kept.append(f"- null threshold {config['null_threshold']:.3f}, chosen for the best F1 on them as well")
    if kept:
        kept[-1] += "; so their metrics flatter a little, the more the fewer they are"
    parts = [("all", {"examples": report.examples, "exact_match": report.exact_match, "f1": report.f1})]
    if report.no_answer is not None:
        parts += [("with an answer", report.has_answer), ("without an answer", report.no_answer)]
    rows = [[name, f"{part['exact_match']:.4f}", f"{part['f1']:.4f}", f"{part['examples']}"] for name, part in parts]
    write_page(
        folder,
        outcome,
        made_of=f"encoder `{config['encoder']}`, {config['transfer']}, longer contexts in overlapping windows, questions cut at "
        f"{config['max_question_length']} tokens",
        kept=kept,
        metrics=[
            f"Normalised as by {report.normalisation}; F1 over {'words' if report.normalisation == 'squad' else 'characters'}.",
            "",
            *table(["questions", "exact match", "F1", "number"], rows),
        ],
        mistakes=_mistakes(model, valid, report.normalisation),
        use=f'tl-keras predict {config["out"]} "QUESTION" "CONTEXT"',
        output="takes `question` and `context`, and gives `answer`, `start`, `end` (in characters) and `score`",
    )


def _mistakes(model, valid: QuestionExamples, normalisation: str) -> list[str]:
    """The answers that share nothing with a right one, most confident first: where wrong answers in the data and blind spots show."""
    frame = predict(model, valid.questions.tolist(), valid.contexts.tolist())
    right = [[answer.text for answer in given] for given in valid.answers]
    frame["right"] = [" / ".join(texts) or "none" for texts in right]
    wrong = frame[score_answers(frame.answer, right, normalisation)[1] == 0]
    wrong = wrong.sort_values("score", ascending=False, kind="stable").head(MISTAKES)
    rows = [
        [cell(row.question), cell(row.right), cell(row.answer or "none"), f"{row.score:.2f}"]
        for row in wrong.itertuples()
    ]
    return section("Most confident errors", ["question", "right", "given", "score"], rows)
