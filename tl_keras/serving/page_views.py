"""What the page shows, by task: the fields to fill in, and the answer in the form that suits it."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import NamedTuple

import gradio as gr
import pandas as pd

from tl_keras.errors import UserError
from tl_keras.serving.answerer import Answerer
from tl_keras.serving.explain import explain
from tl_keras.serving.index import TextIndex
from tl_keras.serving.scorers import Classifier, Regressor, SentenceEncoder
from tl_keras.serving.tagger import Tagger

LONGEST = 100_000
"""Characters of a text: a page is no place for books, and a context is read in full."""
SHOWN_CLASSES = 10
EXPLAINED = 2_000
"""Characters up to which a text is explained: the model is asked for it some hundred times."""
EVALUATIONS = 500


class View(NamedTuple):
    """What a page needs of a model.

    Attributes:
        title: says what the model does.
        inputs: fields.
        outputs: what the answer is shown in.
        answer: the fields' values -> the outputs' values.
    """

    title: str
    inputs: list
    outputs: list
    answer: Callable


def view_of(model) -> View:
    """The view for a model.

    Args:
        model: from `load_exported` or `open_index`.

    Raises:
        UserError: there is no view for it.
    """
    for kind, view in _VIEWS.items():
        if isinstance(model, kind):
            found = view(model)
            return found._replace(answer=_careful(found.answer))
    raise UserError(f"there is no page for a {type(model).__name__}.")


def _careful(answer: Callable) -> Callable:
    """What is wrong with the input is shown as a sentence."""

    def checked(*values):
        for value in values:
            if isinstance(value, str) and not value.strip():
                raise gr.Error("Write something into every field first.", duration=10)
            if isinstance(value, str) and len(value) > LONGEST:
                raise gr.Error(f"The text has {len(value):,} characters; here it may have {LONGEST:,}.", duration=10)
        try:
            return answer(*values)
        except UserError as error:
            raise gr.Error(str(error), duration=10) from error

    return checked


def _text(label: str = "Text", lines: int = 3) -> gr.Textbox:
    return gr.Textbox(label=label, lines=lines, max_lines=20)


def _explain_box() -> gr.Checkbox:
    return gr.Checkbox(True, label="Say which words it depends on")


def _explanation() -> gr.HTML:
    return gr.HTML(label="Words")


def _words(model, wanted: bool, *texts: str) -> str:
    """The texts with their words in colours, as `explain` weighs them; empty if that is not wanted."""
    if not wanted:
        return ""
    if sum(map(len, texts)) > EXPLAINED:
        return f"<p>Texts of up to {EXPLAINED:,} characters are explained here; see <code>tl-keras explain</code>.</p>"
    return (
        f"<h4>Words for it (green) and against it (red)</h4>{explain(model, *texts, evaluations=EVALUATIONS).to_html()}"
    )


def _classifier(model: Classifier) -> View:
    pairs = bool(model.takes_pairs)

    def answer(text, *others):
        *text_pair, explained = others
        (scores,) = model.scores([text], text_pair if pairs else None)
        return dict(zip(model.classes, scores.tolist(), strict=True)), _words(model, explained, text, *text_pair)

    # Several labels may hold at once; then there is no first one to be set in large letters.
    shown = gr.Label(label="Probabilities", num_top_classes=SHOWN_CLASSES, show_heading=not model.multi_label)
    fields = [_text(), _text("Second text")] if pairs else [_text()]
    return View("Text classification", [*fields, _explain_box()], [shown, _explanation()], answer)


def _tagger(model: Tagger) -> View:
    def answer(text):
        (found,) = model.entities([text])
        spans = [{"entity": one["label"], "start": one["start"], "end": one["end"]} for one in found]
        rows = [[one["text"], one["label"], f"{one['score']:.3f}"] for one in found]
        return {"text": text, "entities": spans}, rows

    outputs = [
        gr.HighlightedText(label="Entities", show_legend=True),
        gr.Dataframe(headers=["entity", "label", "score"], label="One by one", wrap=True),
    ]
    return View("Named entities", [_text(lines=5)], outputs, answer)


def _answerer(model: Answerer) -> View:
    def answer(question, context):
        (best,) = model.answers([question], [context], n_best=5)
        span = [] if best["start"] < 0 else [{"entity": "answer", "start": best["start"], "end": best["end"]}]
        told = best["answer"] or "The text does not say."
        others = [[one["answer"], f"{one['score']:.3f}"] for one in best["n_best"]]
        return f"{told} ({best['score']:.3f})", {"text": context, "entities": span}, others

    outputs = [
        gr.Textbox(label="Answer (probability)"),
        gr.HighlightedText(label="Where it stands"),
        gr.Dataframe(headers=["answer", "probability"], label="The best five", wrap=True),
    ]
    return View("Question answering", [_text("Question", 1), _text("Text", 8)], outputs, answer)


def _meter(value: float, low: float, high: float, name: str) -> str:
    """A number and a bar. As HTML, because Gradio's own bars stand for probabilities."""
    share = min(max((value - low) / (high - low), 0.0), 1.0) * 100
    return (
        f"<div style='font-size:1.6em'>{html.escape(name)} <b>{value:.3f}</b></div>"
        f"<div style='background:#8884;border-radius:4px'><div style='width:{share:.1f}%;height:12px;"
        f"background:#4a7dce;border-radius:4px'></div></div><div style='display:flex;justify-content:space-between'>"
        f"<span>{low:g}</span><span>{high:g}</span></div>"
    )


def _encoder(model: SentenceEncoder) -> View:
    def answer(text, other, explained):
        cosine = float(model.similarity([text], [other])[0])
        return _meter(cosine, -1.0, 1.0, "cosine"), _words(model, explained, text, other)

    fields = [_text(), _text("Other text"), _explain_box()]
    return View("Likeness of two texts", fields, [gr.HTML(label="Likeness"), _explanation()], answer)


def _regressor(model: Regressor) -> View:
    low, high = model.score_range
    pairs = model.takes_pairs is not False

    def answer(text, *others):
        *other, explained = others
        score = float(model.scores([text], other if pairs else None)[0])
        return _meter(score, low, high, "score"), _words(model, explained, text, *other)

    fields = [_text(), _text("Other text")] if pairs else [_text()]
    return View("Score", [*fields, _explain_box()], [gr.HTML(label="Score"), _explanation()], answer)


def _index(model: TextIndex) -> View:
    def answer(query, k):
        found = model.search([query], int(k))
        table = pd.DataFrame(
            {"rank": found["rank"], "score": found["score"].map("{:.3f}".format), "text": found["text"]}
        )
        return table

    fields = [_text("Query", 1), gr.Slider(1, 20, value=5, step=1, label="Results")]
    shown = gr.Dataframe(headers=["rank", "score", "text"], label=f"Of {len(model):,} texts", wrap=True)
    return View("Search", fields, [shown], answer)


_VIEWS = {
    Classifier: _classifier,
    Tagger: _tagger,
    Answerer: _answerer,
    SentenceEncoder: _encoder,
    Regressor: _regressor,
    TextIndex: _index,
}
