"""Wrong calls of the command line: exit code 2, one line on stderr, nothing left behind, and no wait for TensorFlow."""

from __future__ import annotations

import errno
import io
import logging
import os
import warnings

import pytest

from tl_keras import predict, text_classifier
from tl_keras.cli import app as cli
from tl_keras.cli import running
from tl_keras.cli.commands import OneLine, fault_line, say
from tl_keras.data.examples import Examples
from tl_keras.data.tagging import TaggedExamples
from tl_keras.options import RANGES, check_ranges
from tl_keras.printable import markdown, printable, spreadsheet_cell
from tl_keras.training.callbacks import early_stopping

TRAIN = ["train", "text-classification", "--train", "no.csv", "--out", "run"]


@pytest.fixture
def wrong(call, tmp_path, monkeypatch):
    """Make a wrong call in an empty folder; gives the line."""
    monkeypatch.chdir(tmp_path)

    def no_tensorflow():
        raise AssertionError("TensorFlow was imported before the options were checked")

    for module in (running, cli):
        monkeypatch.setattr(module, "import_tensorflow", no_tensorflow)
    monkeypatch.setattr("tl_keras.cli.commands.import_tensorflow", no_tensorflow)

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("tl-keras: ")
        assert err.count("\n") == 1, err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learning-rate", "-1"], "--learning-rate must be above 0, not -1"),
        (["--learning-rate", "nan"], "--learning-rate must be above 0, not nan"),
        (["--learning-rate", "inf"], "not inf"),
        (["--learning-rate", "0"], "not 0"),
        (["--patience", "-1"], "--patience must be at least 0"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--seed", str(2**40)], "--seed must be at least 0 and at most 4294967295"),
        (["--validation-split", "nan"], "--validation-split must be between 0 and 1"),
        (["--layer-decay", "0"], "--layer-decay must be above 0 and at most 1"),
        (["--dropout", "1"], "--dropout must be at least 0 and below 1"),
        (["--seq-length", "2"], "--seq-length must be at least 3"),
        (["--label-separator", ""], "--label-separator must be at least one character"),
        (["--encoding", "hex"], "--encoding 'hex' is no encoding"),
        (["--encoding", "rot13"], "--encoding 'rot13' is no encoding"),
        (["--encoding", "utf-8\0"], "is no encoding"),
        (["--epochs", "many"], "'--epochs'"),
        (["--unknown", "1"], "no such option: --unknown"),
        (["--transfer", "fine-tuned"], "choose one of"),
    ],
)
def test_options_of_train(wrong, options, message):
    assert message in wrong(*TRAIN, *options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "no such command 'trian'"),
        (["train", "text-classification", "--out", "run"], "missing option '--train'"),
        (["predict"], "missing argument"),
        (["--keras", "4", "encoders"], "'--keras'"),
        (["predict", "run", "--data", "a.csv"], "--data and --out go together"),
        (["search", "index", "query", "--top", "0"], "--top must be at least 1"),
        (["encode", "--data", "a.csv", "--out", "a.npz", "--encoding", "rot13"], "no encoding"),
        (
            ["zero-shot", "no-model", "--label", "x", "--data", "here.csv", "--out", "./here.csv"],
            "which is read here and would be lost",
        ),
        (["predict", "run", "--data", "no.csv,here.csv", "--out", "here.csv"], "which is read here and would be lost"),
        (["predict", "run", "here.csv"], "here.csv is a file; to answer for its rows: --data here.csv --out FILE"),
        (["zero-shot", "run", "here.csv", "--label", "x"], "here.csv is a file"),
        (["predict", "run", "-10점짜리"], "a text that begins with - stands behind --"),
        (["explain", "run", "--최악의 영화"], "a text that begins with - stands behind --"),
        (["predict", "run", "x", "--overwrite"], "no such option: --overwrite; tl-keras predict --help"),
        (["encoders", "nothing\nof \x1b[31mthis"], r"holds 'nothing"),
        (["pretrain", "bert", "--corpus", "a.txt", "--out", "x", "--seed", "-1"], "--seed must be"),
    ],
)
def test_other_calls(wrong, tmp_path, arguments, message):
    (tmp_path / "here.csv").write_text("text\na\n")
    line = wrong(*arguments)
    assert message in line
    assert "\x1b" not in line


def test_ranges_hold_in_python_too(encoder, reviews, refused):
    refused(lambda: text_classifier(encoder, ["a", "b"], learning_rate=-1.0), "learning_rate must be above 0")
    refused(lambda: text_classifier(encoder, ["a", "b"], learning_rate=0), "learning_rate must be above 0")
    refused(lambda: text_classifier(encoder, ["a", "b"], dropout=float("nan")), "dropout must be")
    refused(lambda: early_stopping(patience=-1), "patience must be at least 0")
    refused(lambda: reviews.split(0.1, seed=-1), "seed must be")


@pytest.mark.parametrize("name", sorted(RANGES))
def test_no_range_takes_what_is_no_number(name, refused):
    for value in (float("nan"), float("inf"), -float("inf"), -1e9):
        if value in RANGES[name]:
            assert name == "null_threshold"
        else:
            refused(lambda value=value: check_ranges({name: value}), name)
    check_ranges({name: None})


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "run/x"), "run/x: no space is left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x: permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300), "the name is too long (300 characters)"),
        (EOFError("Compressed file ended before the end-of-stream marker was reached"), "cut off or damaged"),
        (MemoryError(), "--batch-size"),
        (
            RecursionError("maximum recursion depth exceeded while decoding a JSON array from a unicode string"),
            "too deeply",
        ),
        (ZeroDivisionError(), None),
        (RecursionError("maximum recursion depth exceeded"), None),
    ],
)
def test_errors_of_the_system_are_one_line_and_bugs_are_not(call, monkeypatch, error, message):
    def fails(*_):
        raise error

    monkeypatch.setattr("tl_keras.encoders.presets.list_presets", fails)
    if message is None:
        assert fault_line(error) is None
        with pytest.raises(type(error)):
            call("encoders")
        return
    code, _, err = call("encoders")
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_warnings_of_libraries_are_one_line_each(call, monkeypatch, caplog):
    def warns(*_):
        warnings.warn("made up\nof \x1b[31mtwo lines", UserWarning, stacklevel=1)
        return []

    monkeypatch.setattr("tl_keras.encoders.presets.list_presets", warns)
    with warnings.catch_warnings():  # puts back what the command has set
        warnings.simplefilter("always")
        call("encoders")
    said = [OneLine("%(levelname)s: %(message)s").format(record) for record in caplog.records]
    assert r"WARNING: UserWarning: made up of \x1b[31mtwo lines" in said


def test_a_reader_that_goes_away_ends_the_command_quietly():
    import subprocess
    import sys

    command = f"{sys.executable} -m tl_keras encoders | head -1 > {os.devnull}; echo ${{PIPESTATUS[0]}}"
    # A pipe holds more than the list, so the reader must have gone before it is written.
    command = command.replace("head -1", "true")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.strip() in ("141", "0")


NASTY = 'a\nb\x1b]0;title\x07\x1b[31m\u202egnp.exe "quoted" \ud800'


def test_nothing_from_a_file_reaches_a_terminal_that_it_obeys(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    say(NASTY)
    record = logging.LogRecord("tl_keras", logging.WARNING, "", 0, "%s: strange", (NASTY,), None)
    lines = [screen.getvalue().removesuffix("\n"), OneLine("%(levelname)s: %(message)s").format(record)]
    for line in lines:
        assert line.isprintable(), line
        assert r"\x1b[31m" in line
    assert printable("한글 é 😀 \t x") == "한글 é 😀   x"


def test_nothing_from_a_file_becomes_markup_in_a_report():
    attack = "<script>alert(1)</script> [a](javascript:x) ![b](http://x) `code` | <img src=x onerror=y>"
    said = markdown(attack)
    assert "<" not in said
    assert ">" not in said
    for bare in ("[a]", "![b]", " `", " | "):
        assert bare not in said


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "＝1+1"])
def test_no_cell_is_a_formula(cell):
    assert spreadsheet_cell(cell) == f"'{cell}"


HALVES = ["a \ud83d b", "\udc80", "tail \udfff"]


@pytest.mark.parametrize("text", HALVES)
def test_half_characters_are_refused_where_text_comes_in(text, encoder, refused):
    model = text_classifier(encoder, ["a", "b"], "freeze")
    refused(lambda: Examples.from_lists(["good", text], ["a", "b"], source="f.csv"), "f.csv", "entry 2")
    refused(
        lambda: (
            TaggedExamples.from_spans(["good", text], [[], []], places=["line 1", "line 7"], source="f.jsonl")
            if hasattr(TaggedExamples, "from_spans")
            else Examples.from_lists([text], source="f.jsonl, line 7")
        ),
        "f.jsonl",
        "line 7",
    )
    refused(lambda: predict(model, ["good", text]), "entry 2")
