"""The whole way from text files to a biLM that gives ELMo vectors."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from tl_keras.encoders.word_vectors.word_vectors import count_words
from tl_keras.errors import UserError
from tl_keras.pretraining.bilm.model import Bilm, BilmShape
from tl_keras.pretraining.bilm.sampled_softmax import LazyAdam, Negatives
from tl_keras.pretraining.bilm.saved_elmo import LexiconFeatures, export_bilm, vectors_of_ids
from tl_keras.pretraining.bilm.word_batches import UNKNOWN, Lexicon, SentenceBatches, make_lexicon
from tl_keras.pretraining.corpus import SentenceSample
from tl_keras.pretraining.loop import TrainingLoop
from tl_keras.pretraining.model_card import corpora_table, recipe_lines, write_card
from tl_keras.pretraining.run import LanguageModelRun, can_plot
from tl_keras.pretraining.run_files import plot_losses
from tl_keras.pretraining.settings import BilmSettings
from tl_keras.pretraining.token_files import TokenFile

DIRECTIONS = ("forward", "backward")


class BilmTrainer(TrainingLoop):
    """Trains a biLM.

    One graph serves all batches, whatever their shape: nothing is traced anew for another length.

    Args:
        model: The biLM.
        *args, **kwargs: Of `TrainingLoop`.
        lexicon: The words behind the ids of the batches.
        dropout: See `Bilm.states`.
        clip_norm: Of the gradients.
    """

    measures = tuple(f"{direction}_loss" for direction in DIRECTIONS)
    heldout_measures = (*measures, *(f"{direction}_perplexity" for direction in DIRECTIONS))

    def __init__(
        self,
        model: Bilm,
        *args,
        lexicon: Lexicon,
        dropout: float = 0.1,
        clip_norm: float = 5.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.model, self.dropout = model, dropout
        self.optimizer = LazyAdam(model.trainable_variables, clip_norm)
        self.trained = SimpleNamespace(variables=list(model.variables), optimizer=self.optimizer)
        self._features = LexiconFeatures(lexicon, model.shape.max_chars if model.shape.tokens == "chars" else None)
        ids, lengths = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        negatives = Negatives(tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32))
        signature = [ids, lengths, negatives, tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.float32)]
        self._train = tf.function(self._train_step, input_signature=signature, autograph=False)
        self._measure = tf.function(self._measure_step, input_signature=[ids, lengths], autograph=False)

    def train_on(self, batch, rate):
        """Take one step."""
        losses = self._train(batch.ids, batch.lengths, batch.negatives, batch.seed, rate)
        for name, loss in zip(self.measures, losses, strict=True):
            self.means.add(name, loss, batch.predictions)
        return batch.predictions

    def measure_heldout(self, limit=None):
        """Loss and perplexity of each direction on the held-out documents, by the full softmax.

        A perplexity is `exp` of the mean loss of a word, one end of each text among the words, and words that are not
        predicted as the one word `<UNK>`.
        """
        totals, count = [0.0, 0.0], 0
        for batch in self.heldout.once(self.schedule.longest, limit):
            losses = self._measure(batch.ids, batch.lengths)
            totals = [total + float(loss) for total, loss in zip(totals, losses, strict=True)]
            count += batch.predictions
        if not count:
            return {}
        means = {name: total / count for name, total in zip(self.measures, totals, strict=True)}
        # exp(709) is the largest that a float holds; nobody reads so large a perplexity.
        return means | {f"{name}_perplexity": math.exp(min(means[f"{name}_loss"], 700.0)) for name in DIRECTIONS}

    def _directions(self, ids, lengths, dropout, seed):
        """States and targets of both directions."""
        vectors = vectors_of_ids(self.model, self._features, ids)
        top = self.model.states(vectors, lengths, dropout, seed)[-1]
        targets = tf.where(ids < self.model.shape.vocabulary_size, ids, UNKNOWN)
        return self.model.predictions(top, targets, lengths)

    def _train_step(self, ids, lengths, negatives, seed, rate):
        with tf.GradientTape() as tape:
            directions = self._directions(ids, lengths, self.dropout, seed)
            losses = self.model.losses(directions, negatives if self.batches.samples else None)
            total = losses[0] + losses[1]
        self.optimizer.apply(tape.gradient(total, self.optimizer.targets), rate)
        return losses

    def _measure_step(self, ids, lengths):
        return self.model.total_losses(self._directions(ids, lengths, 0.0, None))


def unknown_fraction(part: TokenFile, lexicon: Lexicon) -> float:
    """The fraction of the words of a token file that are predicted as `<UNK>`."""
    return float((lexicon.targets(part.tokens) == UNKNOWN).mean()) if len(part.tokens) else 0.0


logger = logging.getLogger(__name__)


class BilmPretraining(LanguageModelRun):
    """One pre-training run: prepared on construction, trained by `run`, turned into a SavedModel by `export`."""

    libraries = ("tl_keras", "tensorflow", "tensorflow-text", "numpy")
    settings: BilmSettings
    trainer_class = BilmTrainer

    def prepare(self):
        """Count the words of the corpora, choose those to predict, and write the token files."""
        settings, corpora = self.settings, self.scan_corpora()
        counts = count_words(SentenceSample(corpora), settings.lower_case)
        self.lexicon = make_lexicon(
            counts, settings.vocab_size, settings.min_count, settings.lower_case, settings.tokens == "words"
        )
        logger.info("%d words to predict, of %d in the corpus", self.lexicon.size, len(counts))
        return self.write_tokens(corpora, self.lexicon)

    def start(self):
        """A model of random weights, its word embeddings perhaps of word vectors."""
        self._build(self.lexicon.size)
        if self.settings.vectors:
            self._start_from_vectors()

    def reopen(self):
        """The model of the settings, with the words of the token files."""
        self._build(self.earlier["vocabulary_size"])

    def _build(self, size: int) -> None:
        self.lexicon = Lexicon(self.tokens.vocabulary, size, self.settings.lower_case)
        self.model = Bilm(BilmShape.of(self.settings, size), self.settings.seed)

    def batch_makers(self, schedule):
        """Rows of words, with those that the sampled softmax draws."""
        settings, size = self.settings, self.lexicon.size
        return tuple(
            SentenceBatches(part, settings.batch_tokens, settings.sample_count(size), size, settings.seed)
            for part in (self.tokens.train, self.tokens.heldout)
        )

    def trainer_options(self):
        """What its steps also need."""
        return {"lexicon": self.lexicon, "dropout": self.settings.dropout, "clip_norm": self.settings.clip_norm}

    def extra_config(self):
        """What the settings leave to the corpora."""
        size = self.lexicon.size
        return {"vocabulary_size": size, "softmax_samples": self.settings.sample_count(size)}

    def metrics(self):
        """How much of the held-out text is none of the words that are predicted."""
        return {"heldout_unknown_fraction": round(unknown_fraction(self.tokens.heldout, self.lexicon), 4)}

    def write_card(self):
        """Write `README.md` and `plots/loss.png`."""
        if can_plot():
            losses = {f"{direction}_loss": direction for direction in ("forward", "backward")}
            plot_losses(self.folder, losses, "words", "loss of a word (nats)", shared=True)
        write_readme(self.folder)

    def export(self) -> Path:
        """Write the SavedModel into the run folder.

        Returns:
            The folder.
        """
        info = {"name": self.settings.name or self.folder.name, "lower_case": self.settings.lower_case}
        return export_bilm(self.folder, self.model, self.lexicon, info)

    def _start_from_vectors(self) -> None:
        """Put word vectors into the rows of the words they are for."""
        from tl_keras.encoders.word_vectors.read import read_vectors

        vectors, table = read_vectors(self.settings.vectors), self.model.embeddings.numpy()
        if vectors.width != table.shape[1]:
            raise UserError(
                f"--vectors {self.settings.vectors} has vectors of width {vectors.width}, but --width is "
                f"{table.shape[1]}; give --width {vectors.width}"
            )
        found = {index: vectors.vector(word) for index, word in enumerate(self.lexicon.predicted) if index > UNKNOWN}
        found = {index: vector for index, vector in found.items() if vector is not None}
        if not found:
            raise UserError(f"--vectors {self.settings.vectors} has a vector for none of the corpus's words")
        values = np.stack(list(found.values()))
        # To the spread of the other rows: some files hold vectors of length 1, others of length 10.
        table[list(found)] = values * (table.std() / max(float(values.std()), 1e-12))
        self.model.embeddings.assign(table)
        logger.info("%d of %d words start from word vectors", len(found), len(table))


def write_readme(folder: str | Path) -> Path:
    """Write `README.md`: what the biLM was made of, how, how good it is, and how to use it.

    Args:
        folder: A run folder with `config.json` and `metrics.json`.

    Returns:
        The file.
    """
    return write_card(folder, _sections, "README.md")


def _sections(folder: Path, config: dict, metrics: dict) -> dict[str, str]:
    meta = config["corpora"]
    return {
        "What": _what(config, metrics),
        "Use": _USE.format(wide=2 * config["width"], layers=config["layers"]),
        "Corpora": f"{corpora_table(meta, 'words')} {meta['vocabulary_size']:,} distinct words.",
        "Recipe": _recipe(config, metrics),
        "Perplexity": _perplexity(config, metrics),
        "Limits": _limits(config),
    }


_USE = """A SavedModel with the inputs and outputs of TF Hub's `elmo/3`; the layers are frozen.

    encoder = tl_keras.elmo_encoder("this folder")          # for text_classifier and token_classifier
    layer = tl_keras.KerasLayer("this folder")              # strings -> a dict of vectors

`default` [batch, {wide}] is the mean of `elmo` [batch, words, {wide}], the plain average of `word_emb` (taken twice) and
the outputs of the {layers} layers, `lstm_outputs1` and so on. The signature `tokens` takes words that were split before."""


def _what(config: dict, metrics: dict) -> str:
    cells = f", {config['cells']:,} cells projected to {config['width']}" if config["cells"] else ""
    if config["tokens"] == "chars":
        read = f"a character CNN over bytes of UTF-8, {sum(n for _, n in config['filters'])} filters"
    else:
        read = "word embeddings"
    case = "lower-cased" if config["lower_case"] else "cased"
    return (
        f"A biLM (ELMo): {config['layers']} LSTM layers of width {config['width']} in each direction{cells}, above "
        f"{read}. {metrics['parameters'] / 1e6:.2f} million parameters with the softmax over "
        f"{config['vocabulary_size']:,} words, {case}."
    )


def _recipe(config: dict, metrics: dict) -> str:
    samples = config["softmax_samples"]
    softmax = f"sampled softmax, {samples:,} words a batch" if samples else "full softmax"
    lines = [
        "- The sum of the log-likelihoods of both directions, one sentence a row, each from a zero state. Peters et al. "
        "2018, https://arxiv.org/abs/1802.05365.",
        *recipe_lines(
            config,
            metrics,
            f"rows of at most {config['max_length']} words",
            softmax,
            f"dropout {config['dropout']:g}",
            words="words",
            after=f"gradient norm at most {config['clip_norm']:g}",
        ),
    ]
    if config["vectors"]:
        lines.insert(1, f"- Word embeddings started from `{Path(config['vectors']).name}`.")
    return "\n".join(lines)


def _perplexity(config: dict, metrics: dict) -> str:
    heldout = metrics["heldout"]
    if not heldout:
        return "Nothing was held out."
    lines = ["| held-out documents | forward | backward |", "|---|---|---|"]
    for name, form in (("perplexity", ",.1f"), ("loss", ".4f")):
        lines.append(f"| {name} | " + " | ".join(format(heldout[f"{d}_{name}"], form) for d in _DIRECTIONS) + " |")
    unknown = metrics["heldout_unknown_fraction"]
    note = (
        f"By the full softmax over {config['vocabulary_size']:,} words; {unknown:.1%} of the held-out words are none of "
        "them and count as the one word `<UNK>`, so figures compare only at the same vocabulary. "
        "![losses](plots/loss.png)"
    )
    return "\n".join([*lines, "", note])


_DIRECTIONS = ("forward", "backward")


def _limits(config: dict) -> str:
    lines = ["- It knows the language of its corpora, their time and their prejudices, and little of the world beside."]
    lines.append(f"- It saw rows of up to {config['max_length']} words, each sentence by itself.")
    if config["tokens"] == "words":
        lines.append("- It reads words that are not in its vocabulary as one unknown word.")
    return "\n".join(lines)
