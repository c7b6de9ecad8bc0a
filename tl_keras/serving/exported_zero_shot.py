"""Ask a zero-shot classifier, from a model or from an export; an export needs plain TensorFlow, no Keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.errors import UserError

SHARPNESS = 20.0
"""What cosines are multiplied by before the softmax: it changes no label, only how sure the scores look."""


class ZeroShotClassifier:
    """What scores texts against labels that are named when it is asked.

    Args:
        support: texts, hypotheses and a batch size -> how much each text speaks for each hypothesis, float `[texts, hypotheses]`, and
            against it, or None where nothing does.
        template: a description is put into it, at `{}`.
        labels: used where none are named.
        keep: the model; it must live as long as this.
    """

    task = "zero-shot-classification"

    def __init__(self, support: Callable, template: str, labels=None, keep: object = None):
        if "{}" not in template:
            raise UserError(f"the template {template!r} has no place for a label: write {{}} where it belongs.")
        self.support, self.template, self.keep = support, template, keep
        self.labels = None if labels is None else check_labels(labels)

    def with_defaults(self, labels, template: str | None) -> ZeroShotClassifier:
        """The same with other labels or another template."""
        return ZeroShotClassifier(self.support, template or self.template, labels or self.labels, self.keep)

    def scores(
        self,
        texts: Sequence[str],
        labels: Sequence[str] | Mapping[str, str] | None = None,
        *,
        multi_label: bool = False,
        batch_size: int = 64,
    ) -> np.ndarray:
        """How likely each label is.

        Args:
            texts: `n` strings.
            labels: names, or names with descriptions; by default those it was built with.
            multi_label: each label by itself, a text may have several or none; by entailment only.
            batch_size: texts, or pairs of text and label, at once.

        Returns:
            Float32 `[n, labels]`; without `multi_label` each row adds up to 1.

        Raises:
            UserError: fewer than two labels (one will do with `multi_label`), a name twice, or a label without description.
        """
        if isinstance(texts, str):
            raise UserError(f"texts must be a list of strings, not one string: write [{texts[:40]!r}].")
        named = self._labels(labels, multi_label)
        if not len(texts):
            return np.empty((0, len(named)), "float32")
        hypotheses = [self.template.replace("{}", description) for description in named.values()]
        support, against = self.support(list(texts), hypotheses, batch_size)
        if not multi_label:
            weights = np.exp(support - support.max(-1, keepdims=True))
            return (weights / weights.sum(-1, keepdims=True)).astype("float32")
        if against is None:
            raise UserError(
                "several labels a text take a model that tells entailment: similarity only says which is nearest."
            )
        return (1.0 / (1.0 + np.exp(against - support))).astype("float32")

    def predict(
        self,
        texts: Sequence[str],
        labels: Sequence[str] | Mapping[str, str] | None = None,
        *,
        multi_label: bool = False,
        threshold: float = 0.5,
        batch_size: int = 64,
    ) -> pd.DataFrame:
        """Label texts.

        Args:
            texts: `n` strings.
            labels: as for `scores`.
            multi_label: as for `scores`; `label` and `score` are then lists of those with at least `threshold`.
            threshold: see there.
            batch_size: as for `scores`.

        Returns:
            A DataFrame: `text`, `label`, `score`.
        """
        scores = self.scores(texts, labels, multi_label=multi_label, batch_size=batch_size)
        names = np.array(list(self._labels(labels, multi_label)), object)
        frame = pd.DataFrame({"text": pd.Series(list(texts), dtype=object)})
        if multi_label:
            chosen = [np.flatnonzero(row >= threshold) for row in scores]
            frame["label"] = [names[rows].tolist() for rows in chosen]
            frame["score"] = [row[rows].tolist() for row, rows in zip(scores, chosen, strict=True)]
        else:
            frame["label"] = names[scores.argmax(-1)] if len(scores) else []
            frame["score"] = scores.max(-1) if len(scores) else []
        return frame

    def _labels(self, labels, multi_label: bool) -> dict[str, str]:
        named = self.labels if labels is None else check_labels(labels)
        if named is None:
            raise UserError("name the labels: a list of them, or a dict with a description of each.")
        if len(named) < (1 if multi_label else 2):
            raise UserError(f"at least two labels are needed to choose between, not {len(named)}.")
        return named


class ExportedZeroShot(ZeroShotClassifier):
    """A zero-shot classifier loaded from a SavedModel that `export` wrote; its template is settled there.

    Args:
        folder: the SavedModel.
        module: what `tf.saved_model.load` gave for it.
    """

    def __init__(self, folder: str | os.PathLike, module):
        self.folder, several = str(folder), hasattr(module, "serve_multi_label")

        def support(texts, hypotheses, batch_size):
            at_once, scores, odds = max(batch_size // (len(hypotheses) if several else 1), 1), [], []
            for first in range(0, len(texts), at_once):
                some, labels = tf.constant(texts[first : first + at_once]), tf.constant(hypotheses)
                scores.append(np.log(np.maximum(module.serve(some, labels)["scores"].numpy(), 1e-30)))
                if several:
                    each = np.clip(module.serve_multi_label(some, labels)["scores"].numpy(), 1e-7, 1 - 1e-7)
                    odds.append(np.log(each) - np.log1p(-each))
            # Of both, only differences matter: the probabilities come out as they went in.
            return np.concatenate(scores), np.concatenate(scores) - np.concatenate(odds) if several else None

        super().__init__(support, "{}", keep=module)
        self.settled_template = module.label_template().numpy().decode()

    def with_defaults(self, labels, template):
        """The same with other labels.

        Raises:
            UserError: another template was asked for.
        """
        if template not in (None, self.settled_template):
            raise UserError(f"the template of {self.folder} is settled: {self.settled_template!r}; leave template out.")
        self.labels = check_labels(labels) if labels is not None else self.labels
        return self


def check_labels(labels: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Names with descriptions; a name alone describes itself.

    Raises:
        UserError: a name twice, or a label without description.

    Example:
        >>> check_labels(["sports", "politics"])
        {'sports': 'sports', 'politics': 'politics'}
    """
    if isinstance(labels, str):
        raise UserError(f"labels must be a list of names, not one string: write [{labels[:40]!r}].")
    pairs = list(labels.items()) if isinstance(labels, Mapping) else [(name, name) for name in labels]
    named: dict[str, str] = {}
    for name, description in pairs:
        if str(name) in named:
            raise UserError(f"the label {str(name)!r} is named twice.")
        if not isinstance(description, str) or not description.strip():
            raise UserError(f"the label {str(name)!r} has no description; write what it means in a few words.")
        named[str(name)] = description
    return named


def similarity_scores(cosines):
    """Cosines as logits."""
    return SHARPNESS * cosines


def entailment_places(classes: Sequence[str]) -> tuple[int, int]:
    """Where the classes "entailment" and "contradiction" stand, whatever their case; of two classes, the other one contradicts.

    Raises:
        UserError: there is no class of entailment.

    Example:
        >>> entailment_places(["contradiction", "entailment", "neutral"]), entailment_places(["Entailment", "not_entailment"])
        ((1, 0), (0, 1))
    """
    names = [name.lower() for name in classes]
    entailed = next((place for place, name in enumerate(names) if name in ("entailment", "entailed", "entails")), None)
    if entailed is None:
        raise UserError(
            f"zero-shot classification needs a model that tells entailment, and this one has the classes {', '.join(classes)}; train one "
            "with tl-keras train zero-shot-classification, or give a sentence encoder."
        )
    against = [place for place, name in enumerate(names) if name.startswith("contradict")]
    others = [place for place in range(len(names)) if place != entailed]
    return entailed, against[0] if against else others[0]
