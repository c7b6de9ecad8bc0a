"""The notebooks are kept with their outputs, and these came from the code that stands beside them."""

import hashlib
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.one_keras


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_outputs_are_those_of_the_code(file):
    book = json.loads(file.read_text("utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    code = "\0".join("".join(cell["source"]) for cell in cells)
    again = f"run `python notebooks/run.py {file.name} --keep`"
    assert book["metadata"].get("code_sha256") == hashlib.sha256(code.encode()).hexdigest(), again
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), again
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert not any(output["output_type"] == "error" for output in outputs)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_outputs_name_no_place_of_one_machine(file):
    """Home folders, temporary folders and environments of whoever ran it last."""
    assert re.findall(r"(?:/root|/home|/work|/Users|site-packages)/[^\s\"]*", file.read_text("utf-8")) == []
