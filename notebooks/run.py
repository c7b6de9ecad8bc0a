"""Run every notebook of a folder from top to bottom, and fail if a cell fails.

    python notebooks/run.py [FOLDER or NOTEBOOK ...] [--out runs/notebooks] [--keep] [--timeout 1200]

Each notebook gets a kernel of its own, of the Python that runs this script, started in the repository root. Environment
variables reach it, so `TF_USE_LEGACY_KERAS=1 python notebooks/run.py` runs the notebooks under Keras 2. The executed copies,
outputs included, are written to `--out`. With `--keep` the outputs are put into the notebooks themselves too, so that they can be read
where they lie, beside a hash of the code they came from; `tests/test_notebooks.py` refuses outputs of other code.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import time
from pathlib import Path

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent


class ThisPython(AsyncKernelManager):
    """Starts the running interpreter as kernel, whatever kernels are installed for the user under the name `python3`."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel `python -m ipykernel_launcher` of `sys.executable`."""
        return KernelSpec(**get_kernel_dict())


def code_hash(cells: list[dict]) -> str:
    """SHA-256 of a notebook's code, cell by cell."""
    code = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def tidy(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out what differs with each run or machine: log lines, times, and all but the last state of progress bars."""
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if output.output_type == "stream":
                # What a terminal would show: a carriage return begins the line anew, a backspace takes a character back.
                text = re.sub(r"\x1b\[[0-9;]*m", "", output.text).replace("\x08", "")
                output.text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    book.metadata["code_sha256"] = code_hash(book.cells)
    return book


def execute(notebook: Path, out: Path, timeout: int, keep: bool = False) -> str | None:
    """Run a notebook and write the executed copy.

    Args:
        notebook: the `.ipynb` file.
        out: folder for the copy, which is written also when a cell fails.
        timeout: seconds that one cell may take.
        keep: put the outputs into the notebook as well, unless a cell failed.

    Returns:
        What went wrong, or None.
    """
    book = nbformat.read(notebook, as_version=4)
    client = NotebookClient(book, timeout=timeout, resources={"metadata": {"path": str(ROOT)}})
    client.kernel_manager_class = ThisPython
    problem = None
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        problem = str(error)
    out.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, out / notebook.name)
    if keep and not problem:
        nbformat.write(tidy(book), notebook)
    return problem


def main() -> int:
    """Run the notebooks named on the command line; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=[Path(__file__).parent])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "notebooks")
    parser.add_argument("--keep", action="store_true", help="put the outputs into the notebooks themselves")
    parser.add_argument("--timeout", type=int, default=1200, help="seconds that one cell may take")
    options = parser.parse_args()

    files = [file for path in options.notebooks for file in (sorted(path.glob("*.ipynb")) if path.is_dir() else [path])]
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        print(f"no notebook: {', '.join(map(str, missing or options.notebooks))}", file=sys.stderr)
        return 2
    failed = 0
    for file in files:
        started = time.perf_counter()
        problem = execute(file, options.out, options.timeout, options.keep)
        print(f"{'FAILED' if problem else 'ok'}  {file.name}  {time.perf_counter() - started:.0f} s", flush=True)
        if problem:
            failed += 1
            print(problem, file=sys.stderr)
    print(f"{len(files) - failed} of {len(files)} notebooks ran; copies with outputs are in {options.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
