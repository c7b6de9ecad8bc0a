"""A file of word vectors as the encoder of a run."""

from __future__ import annotations


def test_tagging_with_a_file_of_vectors(call, tmp_path):
    (tmp_path / "v.vec").write_text("3 2\nfilm 1 0\nRome 0 1\nthe 1 1\n", "utf-8")
    rows = ["the O", "film O", "Rome B-LOC", ". O", ""]
    (tmp_path / "t.conll").write_text("\n".join(rows * 12).replace(" ", "\t") + "\n", "utf-8")
    code, _, err = call(
        "train", "token-classification", "--train", tmp_path / "t.conll", "--out", tmp_path / "run",
        "--encoder", tmp_path / "v.vec", "--epochs", 4, "--batch-size", 4, "--learning-rate", 0.05, "--transfer", "freeze",
    )  # fmt: skip
    assert code == 0, err
    code, out, err = call("predict", tmp_path / "run", "the film Rome .")
    assert code == 0, err
    assert '"text": "Rome"' in out


def test_a_damaged_file_is_one_line_and_leaves_nothing(call, tmp_path):
    (tmp_path / "v.vec").write_text("2 2\nfilm 1 0\nRome 0\n", "utf-8")
    (tmp_path / "t.csv").write_text("text,label\n" + "film,a\nRome,b\n" * 8, "utf-8")
    code, _, err = call(
        "train",
        "text-classification",
        "--train",
        tmp_path / "t.csv",
        "--out",
        tmp_path / "run",
        "--encoder",
        tmp_path / "v.vec",
    )
    assert code == 2
    assert "line 3: 1 numbers behind the word, but the header says 2" in err
    assert "Traceback" not in err
    assert {f.name for f in tmp_path.iterdir()} == {"v.vec", "t.csv"}
