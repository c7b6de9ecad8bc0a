"""Labels that are named when it is asked, by similarity or by entailment: the predictor, its graph, and what is exported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tl_keras.data.given import check_texts, index_of, string_array
from tl_keras.errors import UserError
from tl_keras.options import check_ranges
from tl_keras.serving.predictor import Predictor, constant, label_columns, strings, text_frame
from tl_keras.serving.scorers import Classifier, SentenceEncoder

SIMILARITY_TEMPLATE, ENTAILMENT_TEMPLATE = "{}", "This text is about {}."
SHARPNESS = 20.0
"""What cosines are multiplied by before the softmax: it changes no label, only how sure the scores look."""


class ZeroShotClassifier(Predictor):
    """What scores texts against labels that are named when it is asked.

    Args:
        support: texts, hypotheses and a batch size -> how much each text speaks for each hypothesis, float `[texts, hypotheses]`, and
            against it, or None where nothing does.
        template: a description is put into it, at `{}`.
        labels: used where none are named.
        source: what it asks, a `SentenceEncoder` or a `Classifier`; None for an export.
    """

    task = "zero-shot-classification"
    settled_template: str | None = None
    """What an export puts descriptions into by itself."""

    def __init__(self, support: Callable, template: str, labels=None, source: Predictor | None = None):
        if "{}" not in template:
            raise UserError(f"the template {template!r} has no place for a label: write {{}} where it belongs.")
        self.support, self.template, self.source = support, template, source
        self.labels = None if labels is None else check_labels(labels)

    @classmethod
    def on(cls, source: Predictor, template: str | None, labels=None) -> ZeroShotClassifier:
        """By similarity on a sentence encoder, or by entailment on a classifier of pairs.

        Raises:
            UserError: the predictor is neither.
        """
        if isinstance(source, SentenceEncoder):

            def cosines(texts, hypotheses, batch_size):
                vectors, others = source.unit_vectors(texts, batch_size), source.unit_vectors(hypotheses, batch_size)
                return similarity_scores(vectors @ others.T), None

            return cls(cosines, template or SIMILARITY_TEMPLATE, labels, source)
        if not isinstance(source, Classifier):
            raise UserError(
                "zero-shot classification takes a sentence encoder, or a classifier of pairs that tells entailment; this model is neither."
            )
        entailed, contradicted = entailment_places(source.classes)

        def logits(texts, hypotheses, batch_size):
            pairs = [(text, hypothesis) for text in texts for hypothesis in hypotheses]
            scores = source.scores([a for a, _ in pairs], [b for _, b in pairs], batch_size)
            scores = np.log(np.maximum(scores, 1e-12)).reshape(len(texts), len(hypotheses), -1)
            return scores[..., entailed], scores[..., contradicted]

        return cls(logits, template or ENTAILMENT_TEMPLATE, labels, source)

    @classmethod
    def of_export(cls, module, folder: str) -> ZeroShotClassifier:
        """That of an export; its template is settled there."""
        several = "multi_label" in module.signatures

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

        made = cls(support, "{}")
        made.settled_template = module.label_template().numpy().decode()
        return made

    def with_defaults(self, labels, template: str | None) -> ZeroShotClassifier:
        """The same with other labels or another template.

        Raises:
            UserError: another template than the one that is settled in an export.
        """
        if self.settled_template is not None and template not in (None, self.settled_template):
            raise UserError(f"the template of {self.folder} is settled: {self.settled_template!r}; leave template out.")
        made = copy.copy(self)
        made.template = template if template and self.settled_template is None else self.template
        made.labels = check_labels(labels) if labels is not None else self.labels
        return made

    def to_module(self, pairs: bool) -> tuple[tf.Module, dict[str, Callable]]:
        """`serving_default` takes `text`, string `[batch]`, and `label`, descriptions of candidate labels, string `[labels]`.

        It gives `scores`, float32 `[batch, labels]`, of each text 1 in all, and `label` and `score` of the likeliest. By entailment
        there is also `multi_label`, whose `scores` lie between 0 and 1 each. The template is put around the descriptions.
        """
        root = tf.Module(name="zero_shot_classifier")
        before, after = self.template.split("{}", 1)
        entails = isinstance(self.source, Classifier)
        support = self._entailment_graph(root) if entails else self._similarity_graph(root)

        def answer(scores, label):
            best = tf.argmax(scores, -1)
            return {"label": tf.gather(label, best), "score": tf.reduce_max(scores, -1), "scores": scores}

        def serve(text, label):
            return answer(tf.nn.softmax(support(text, tf.strings.join([before, label, after]))[0]), label)

        def several(text, label):
            for_it, against = support(text, tf.strings.join([before, label, after]))
            return answer(tf.sigmoid(for_it - against), label)

        signature = [strings("text"), strings("label")]
        root.serve = tf.function(serve, input_signature=signature, autograph=False)
        root.label_template = constant(self.template)
        signatures = {"serving_default": root.serve}
        if entails:
            root.serve_multi_label = tf.function(several, input_signature=signature, autograph=False)
            signatures["multi_label"] = root.serve_multi_label
        return root, signatures

    def _similarity_graph(self, root: tf.Module) -> Callable:
        root.encoder, _ = self.source.to_module(pairs=False)

        def support(text, hypothesis):
            vectors, others = (tf.math.l2_normalize(root.encoder.serve(x)["embedding"], -1) for x in (text, hypothesis))
            return similarity_scores(tf.matmul(vectors, others, transpose_b=True)), None

        return support

    def _entailment_graph(self, root: tf.Module) -> Callable:
        root.classifier, _ = self.source.to_module(pairs=True)
        entailed, contradicted = entailment_places(self.source.classes)

        def support(text, hypothesis):
            texts, labels = tf.size(text), tf.size(hypothesis)
            scores = root.classifier.serve(tf.repeat(text, labels), tf.tile(hypothesis, [texts]))["scores"]
            scores = tf.reshape(tf.math.log(tf.maximum(scores, 1e-12)), [texts, labels, -1])
            return scores[..., entailed], scores[..., contradicted]

        return support

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
        check_texts(texts)
        check_ranges({"batch_size": batch_size})
        string_array(list(texts), "texts")
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
        names = list(self._labels(labels, multi_label))
        frame = text_frame(texts, None, **label_columns(scores, names, multi_label, threshold))
        return frame if index_of(texts) is None else frame.set_axis(index_of(texts))

    def frame(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, batch_size: int = 64
    ) -> pd.DataFrame:
        """What `predict` gives for the labels it was built with.

        Raises:
            UserError: pairs, or there are no such labels.
        """
        if text_pairs is not None:
            raise UserError("a zero-shot classifier takes single texts, not pairs.")
        return self.predict(texts, batch_size=batch_size)

    def _labels(self, labels, multi_label: bool) -> dict[str, str]:
        named = self.labels if labels is None else check_labels(labels)
        if named is None:
            raise UserError("name the labels: a list of them, or a dict with a description of each.")
        if len(named) < (1 if multi_label else 2):
            raise UserError(f"at least two labels are needed to choose between, not {len(named)}.")
        return named


def check_labels(labels: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Names with descriptions; a name alone describes itself.

    Raises:
        UserError: a name twice, or a label without description.

    Example:
        >>> check_labels(["sports", "politics"])
        {'sports': 'sports', 'politics': 'politics'}
    """
    if not isinstance(labels, Mapping):
        check_texts(labels, "labels", "names")
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
