"""What every test and every example of a docstring may use: tiny encoders made once per session, and the shared real data where it is there."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem

pytest_plugins = ["stacks"]

# Tiny networks gain nothing from threads that wait for each other, and several test processes share the machine.
for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Garbage is looked for between tests only. Graphs are made of very many small objects, so that Python's own thresholds cost a tenth of
# the tests' time; and a collection that begins while TensorFlow notes an operation's stack frames has crashed the interpreter (3.11,
# tf_keras: `StackTrace::Capture`, then a segmentation fault in the deallocation of a long chain).
gc.disable()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Collect garbage where much has been made since the last time, and at the end of each file, when its fixtures have ended."""
    yield
    file_ends = nextitem is None or nextitem.path != item.path
    if file_ends or gc.get_count()[0] > 1_000_000:
        gc.collect()
    if file_ends:
        # What outlives a file is imported modules and what the session shares. Looking through them again each time cost half a
        # second a file, and more the longer the session lasted.
        gc.freeze()


def pytest_collection_modifyitems(config, items):
    """Leave out the tests marked `slow`, unless they are asked for, and those that the other Keras is enough for."""
    if not os.environ.get("TL_KERAS_SLOW"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes long: set TL_KERAS_SLOW=1"))
    version = 2 if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true") else 3
    again = {item for item in items if enough_with(item) not in (None, version)}
    config.hook.pytest_deselected(items=list(again))
    items[:] = [item for item in items if item not in again]


def enough_with(item) -> int | None:
    """The Keras that a test is run under; None for both."""
    marker = item.get_closest_marker("one_keras")
    if marker is not None:
        return marker.args[0] if marker.args else 3
    # Examples show how something is called; whether it is right, tests say.
    return 3 if isinstance(item, DoctestItem) else None


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real data beside the checkout; tests that need it skip, visibly, without it."""
    folder = Path(os.environ.get("TL_KERAS_SHARED", Path(__file__).resolve().parents[1] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data not found in {folder} (set TL_KERAS_SHARED)")
    return folder


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "good",
    "bad",
    "film",
    "the",
    "a",
    "was",
    "very",
    "not",
    "plot",
    "actor",
    "music",
    "dull",
    "great",
    "awful",
    "fine",
    "boring",
    "love",
    "hate",
    "it",
    "i",
    "this",
    "is",
    ".",
    ",",
    "!",
    "?",
    "영화",
    "재미",
    "##있다",
    "##없다",
    "정말",
    "지루",
    "##하다",
    "좋",
    "##다",
    "나쁘",
    "배우",
    "음악",
]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *("##" + c for c in "abcdefghijklmnopqrstuvwxyz")]
VOCABULARY = [*SPECIAL, *WORDS, *LETTERS]


@pytest.fixture(scope="session")
def vocabulary() -> list[str]:
    """The WordPiece tokens of the tiny encoder, by id."""
    return VOCABULARY


@pytest.fixture
def suggesting_pair(tiny_pair, tmp_path):
    """Makes a copy of `tiny_pair` whose makers suggest what they are given."""

    def make(**suggested) -> Path:
        pair = shutil.copytree(tiny_pair, tmp_path / "pair")
        facts = json.loads((pair / "info.json").read_text())
        (pair / "info.json").write_text(json.dumps({**facts, "suggested": suggested}))
        return pair

    return make


def tiny_backbone(vocabulary_size: int, seed: int):
    """KerasHub's BERT with random weights: one layer of width 16, 64 positions, no dropout."""
    keras = pytest.importorskip("keras")
    keras_hub = pytest.importorskip("keras_hub")
    keras.utils.set_random_seed(seed)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        dropout=0.0,
        max_sequence_length=64,
    )
    # The published initial values (0.02) are for wide networks; wider ones let a tiny network learn something.
    for weight in backbone.weights:
        if len(weight.shape) > 1:
            weight.assign(weight * 10)
    return backbone


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory, shared_preprocessors) -> Path:
    """An encoder pair with random weights: one layer of width 16, 64 positions, no dropout.

    One layer, because most of a test's time goes into tracing gradients through it.
    """
    pytest.importorskip("keras_hub")
    import tensorflow as tf

    from tl_keras.encoders.pair import write_encoder_pair
    from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary

    # Rewriting a graph for speed takes longer than a tiny encoder ever runs. Processes that tests start do rewrite theirs.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

    backbone = tiny_backbone(len(VOCABULARY), seed=11)
    # Accents are kept: stripping them (NFD) would take the Hangul apart.
    return write_encoder_pair(
        tmp_path_factory.mktemp("pair") / "tiny",
        backbone,
        WordPieceVocabulary(VOCABULARY, WordPieceRules(lower_case=True, strip_accents=False)),
        seq_length=32,
    )


@pytest.fixture(scope="session")
def sentencepiece_model() -> bytes:
    """A SentencePiece unigram model of 160 tokens, as XLM-R's file is published: its own ids, NFKC, spaces joined."""
    spm = pytest.importorskip("sentencepiece")
    import io

    lines = [
        f"the {adjective} film was {verdict}, 영화 {korean}"
        for adjective in WORDS[:20]
        for verdict in WORDS[10:22]
        for korean in ("정말 재미있다", "지루하다!", "재미없다.", "음악이 좋다", "배우가 나쁘다", "서울에서 부산까지")
    ]
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=160,
        model_type="unigram",
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        required_chars="abcdefghijklmnopqrstuvwxyz0123456789⁄コト가나다",
    )
    return model.getvalue()


@pytest.fixture(scope="session")
def sentencepiece_pair(sentencepiece_model, tmp_path_factory, shared_preprocessors) -> Path:
    """An encoder pair with random weights and XLM-R's kind of vocabulary: one layer of width 16, no dropout."""
    pytest.importorskip("keras_hub")
    from tl_keras.encoders.pair import write_encoder_pair
    from tl_keras.encoders.sentencepiece_files import read_xlm_roberta

    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_model)
    vocabulary = read_xlm_roberta(folder / "sentencepiece.bpe.model")
    backbone = tiny_backbone(len(vocabulary.tokens), seed=12)
    return write_encoder_pair(folder / "pair", backbone, vocabulary, seq_length=32)


@pytest.fixture(scope="session")
def mlm_pair(tmp_path_factory, vocabulary, shared_preprocessors) -> Path:
    """An encoder pair with a masked-LM head: one block of width 16, weights far enough from zero for every part to matter."""
    import numpy as np

    keras_hub = pytest.importorskip("keras_hub")
    from tl_keras.encoders.pair import write_encoder_pair
    from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary

    backbone = keras_hub.models.BertBackbone(
        len(vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=24,
        dropout=0.0,
        max_sequence_length=24,
    )
    head = keras_hub.layers.MaskedLMHead(token_embedding=backbone.token_embedding, intermediate_activation="gelu")
    head.build((None, None, 16))
    rng = np.random.default_rng(0)
    for weight in [*backbone.trainable_weights, *head.trainable_weights]:
        weight.assign(rng.normal(0.0, 0.4, weight.shape) + (1.0 if "gamma" in weight.path else 0.0))
    return write_encoder_pair(
        tmp_path_factory.mktemp("mlm") / "pair",
        backbone,
        WordPieceVocabulary(vocabulary, WordPieceRules(lower_case=True, strip_accents=False)),
        seq_length=16,
        mlm_head=head,
    )


@pytest.fixture(scope="session")
def encoder(tiny_pair):
    """The tiny encoder, cutting texts at 32 tokens. Its layers are loaded for each model; its preprocessor is the same for all."""
    from tl_keras import load_encoder

    return load_encoder(str(tiny_pair), seq_length=32)


@pytest.fixture(scope="session")
def shared_preprocessors():
    """A preprocessing module is loaded once for each state of its files: nothing changes it, and loading it takes 0.3 s each time."""
    from tl_keras import saved_models
    from tl_keras.text import preprocessor

    loaded = {}

    def load_once(folder):
        saved_models.check_saved_model(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        key = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
        if key not in loaded:
            loaded[key] = saved_models.load_saved_model(folder)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preprocessor, "load_saved_model", load_once)
        yield


@pytest.fixture(scope="session")
def reviews():
    """Sixty-four short reviews whose label a tiny encoder can learn from single words."""
    import numpy as np

    from tl_keras.data import Examples

    rng = np.random.default_rng(3)
    good, bad = (
        ["good", "great", "fine", "love", "좋다", "재미있다"],
        ["bad", "awful", "dull", "hate", "지루하다", "재미없다"],
    )
    filler = [
        "the film",
        "this plot was",
        "it is",
        "i",
        "a very",
        "the actor",
        "영화",
        "정말",
        "music",
        "the music was very",
    ]
    texts, labels = [], []
    for row in range(64):
        word = (good if row % 2 else bad)[rng.integers(6)]
        words = [filler[i] for i in rng.integers(10, size=rng.integers(1, 6))] + [word]
        texts.append(" ".join(words) + ("!" if row % 3 else "."))
        labels.append("positive" if row % 2 else "negative")
    return Examples.from_lists(texts, labels)


@pytest.fixture(autouse=True)
def names_of_examples(request, doctest_namespace):
    """For the examples of docstrings: `tlk`, the tiny `encoder`, `reviews`, and a folder of their own with files to read.

    They run without graphs, which is slower a step and quicker for the few that an example takes.
    """
    if not isinstance(request.node, DoctestItem) or "tlk." not in request.node.dtest.docstring:
        yield
        return
    import tensorflow as tf

    import tl_keras

    folder = request.getfixturevalue("tmp_path")
    (folder / "ko.vec").write_text("3 2\ngood 1 0\nbad 0 1\n영화 1 1\n", "utf-8")
    (folder / "articles.csv").write_text("body\nthe music was great\na dull plot\n", "utf-8")
    doctest_namespace.update(
        tlk=tl_keras,
        encoder=request.getfixturevalue("encoder"),
        reviews=request.getfixturevalue("reviews"),
        mlm_pair=request.getfixturevalue("mlm_pair") if "mlm_pair" in request.node.dtest.docstring else None,
        bilm=request.getfixturevalue("bilm_folder") if "bilm" in request.node.dtest.docstring else None,
    )
    request.getfixturevalue("monkeypatch").chdir(folder)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


# What a user's serving process does: nothing of ours, nothing of Keras.
SERVER = """
import json, sys
import tensorflow as tf, tensorflow_text

def plain(tensor):
    if tensor.dtype == tf.string:
        return tf.nest.map_structure(bytes.decode, tensor.numpy().tolist())
    return tensor.numpy().tolist()

for line in sys.stdin:
    folder, signature, inputs = json.loads(line)
    model = tf.saved_model.load(folder)
    outputs = model.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
    ours = sorted(name for name in sys.modules if name.startswith("tl_keras"))
    print(json.dumps({"outputs": {name: plain(value) for name, value in outputs.items()}, "ours": ours}), flush=True)
"""


@pytest.fixture(scope="session")
def serve():
    """Ask an export in another process, which knows TensorFlow and tensorflow_text only: `serve(folder, **inputs)`."""
    process = None

    def ask(folder, signature="serving_default", **inputs) -> dict:
        nonlocal process
        if process is None:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process.stdin.write(json.dumps([str(folder), signature, inputs]) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert answer["ours"] == []
        return answer["outputs"]

    yield ask
    if process is not None:
        process.stdin.close()
        process.wait(timeout=30)


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `tl-keras ...` in this process; returns exit code, stdout, stderr.

    An export is loaded at the first command that asks for it, and kept for the next ones: loading is most of what they do.
    """

    from tl_keras.cli import app as cli

    load, loaded = cli._load, {}

    def load_once(path: str):
        stored = Path(path) / "saved_model" / "1" / "saved_model.pb"
        if not stored.is_file():
            return load(path)
        key = (path, stored.stat().st_mtime_ns)
        if key not in loaded:
            loaded[key] = load(path)
        return loaded[key]

    monkeypatch.setattr(cli, "_load", load_once)

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tl-keras", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.fixture(scope="session")
def bilm_folder(tmp_path_factory) -> Path:
    """A biLM that reads characters, of width 3: its ELMo vectors have width 6."""
    from tl_keras.pretraining.bilm.model import Bilm, BilmShape
    from tl_keras.pretraining.bilm.saved_elmo import export_bilm
    from tl_keras.pretraining.bilm.word_batches import SPECIAL_WORDS, Lexicon

    shape = BilmShape(vocabulary_size=8, width=3, char_width=2, filters=((1, 2), (3, 4)), max_chars=12)
    model = Bilm(shape, seed=4)
    for variable in model.variables:  # wide enough for differences to show
        variable.assign(variable * 3.0 + 0.1)
    lexicon = Lexicon([*SPECIAL_WORDS, "the", "film", "was", "good", "영화"], 8)
    folder = tmp_path_factory.mktemp("elmo") / "ours"
    folder.mkdir()
    return export_bilm(folder, model, lexicon, {"name": "tiny"})
