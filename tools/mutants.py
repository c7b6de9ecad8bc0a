"""Mutants: small faults put into the code, one at a time, to see whether the tests nearest to it notice.

    make mutants                                              # forty of them, drawn with seed 0
    python tools/mutants.py --count 200 --seed 3 --only models,evaluation --out runs/mutants

The faults are those of cosmic-ray: another number, another comparison, `and` for `or`, `not`, a loop that never runs. A copy of the project is
changed, never the project itself. Each mutant is tested in a process forked from one that has TensorFlow imported, under Keras 3 unless
TF_USE_LEGACY_KERAS says otherwise, and, if it lives, under the other Keras. `report.json` in the output folder keeps every result; a further call goes on behind them. `report.md` shows those
that lived.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "evaluation", "serving", "tasks", "training", "text")
OPERATORS = (
    "ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add", "ReplaceBinaryOperator_Mul_Div", "ReplaceBinaryOperator_Div_Mul",
    "ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt", "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceAndWithOr", "ReplaceOrWithAnd", "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer",
    "ZeroIterationForLoop",
)  # fmt: skip
# Where names do not tell.
NEAREST = {
    "models/body": ("models/test_text_classifier", "models/test_token_classifier", "models/test_elmo"),
    "models/lexical": ("models/test_sentence_encoder",),
    "models/pair_builders": ("models/test_sentence_encoder", "models/test_question_answerer"),
    "models/pair_heads": (
        "models/test_sentence_encoder",
        "models/test_question_answerer",
        "models/test_text_regressor",
        "serving/test_similarity_export",
    ),
    "models/transfer_model": ("models/test_string_input", "models/test_transfer_control", "training/test_resume"),
    "serving/http/app": ("serving/test_http_parts", "serving/test_http_server"),
    "serving/http/models": ("serving/test_http_server",),
    "serving/http/rest": ("serving/test_http_server",),
    "serving/http/saved_model": ("serving/test_http_server",),
    "serving/index_files": ("serving/test_index",),
    "serving/served_model": ("serving/test_export", "serving/test_tagging_export"),
    "serving/tagger": ("serving/test_tagging_export", "evaluation/test_tagging", "serving/test_sentencepiece_tagging"),
    "tasks/folder": ("faults/test_life_of_a_run", "faults/test_damage"),
    "tasks/question_answering": ("cli/test_questions",),
    "tasks/retrieval": ("cli/test_similarity",),
    "tasks/sentence_similarity": ("cli/test_similarity", "cli/test_frozen"),
    "tasks/settings": ("cli/test_options", "cli/test_app"),
    "tasks/steps": ("cli/test_app", "cli/test_word_vectors", "cli/test_tagging"),
    "tasks/task_settings": ("cli/test_options", "cli/test_app", "cli/test_tagging"),
    "tasks/text_classification": ("cli/test_app", "cli/test_frozen"),
    "tasks/token_classification": ("cli/test_tagging",),
    "tasks/vector_settings": ("cli/test_options", "cli/test_similarity"),
}
KILLED, LIVED, TIMEOUT, NO_TEST = "killed", "lived", "timeout", "no test"


def mutants(package: str) -> Iterator[dict]:
    """All mutants of a package: module, operator, and which of the places it fits."""
    from cosmic_ray.ast import get_ast
    from cosmic_ray.plugins import get_operator

    for path in sorted((ROOT / "tl_keras" / package).rglob("*.py")):
        tree = get_ast(path.read_text("utf-8"))
        for name in OPERATORS:
            operator = get_operator(f"core/{name}")()
            places = [position for node in _nodes(tree) for position in operator.mutation_positions(node)]
            for occurrence, (start, _) in enumerate(places):
                yield {
                    "module": str(path.relative_to(ROOT)),
                    "operator": name,
                    "occurrence": occurrence,
                    "line": start[0],
                }


def _nodes(node) -> Iterator:
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def nearest_tests(module: str, most: int = 3) -> list[str]:
    """The test files of a module: the one of its name, those that import it or what its package shows of it, or name its task, shortest first.

    Where names do not tell, `NEAREST` does.
    """
    path = Path(module)
    known = NEAREST.get("/".join(path.with_suffix("").parts[1:]))
    if known is not None:
        return [f"tests/{name}.py" for name in known]
    dotted = ".".join(path.with_suffix("").parts)
    body = ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
    public, tasks = set(), set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.col_offset == 0 and not node.name.startswith("_"):
            public.add(node.name)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "task":
            tasks.add(ast.unparse(node.value)[1:-1])
    scores = {}
    for test in (ROOT / "tests").rglob("test_*.py"):
        score = 3 * (test.stem == f"test_{path.stem}") + (test.parent.name in path.parts)
        text = test.read_text("utf-8")
        if dotted in text:
            score += 4
        elif any(f"{name}(" in text for name in public):
            score += 2
        if any(f'"{task}"' in text for task in tasks):
            score += 2
        if score >= 2:
            scores[test] = (-score, len(text))
    return [str(test.relative_to(ROOT)) for test in sorted(scores, key=scores.get)[:most]]


def try_mutant(tree: Path, mutant: dict, tests: list[str], seconds: float) -> dict:
    """Change the copy, run the tests in a forked process, and change the copy back.

    Args:
        tree: the copy.
        mutant: of `mutants`.
        tests: files, relative to the copy.
        seconds: how long they may take; longer counts as noticed, as an endless loop would be.
    """
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    path = tree / mutant["module"]
    source = path.read_text("utf-8")
    changed = mutate_code(source, get_operator(f"core/{mutant['operator']}")(), mutant["occurrence"])
    diff = [
        line
        for line in difflib.unified_diff(source.splitlines(), changed.splitlines(), lineterm="", n=0)
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    path.write_text(changed, "utf-8")
    started = time.monotonic()
    try:
        code = _in_a_fork(tree, [*tests, mutant["module"]], seconds)
        if code in (0, 5):
            # Some tests run under one Keras only.
            other = _in_a_fork(tree, tests, seconds, other_keras=True)
            code = code if other == 5 else other
    finally:
        path.write_text(source, "utf-8")
    outcome = TIMEOUT if code is None else LIVED if code == 0 else NO_TEST if code == 5 else KILLED
    return {
        **mutant,
        "diff": diff,
        "tests": tests,
        "outcome": outcome,
        "seconds": round(time.monotonic() - started, 1),
    }


def _in_a_fork(tree: Path, arguments: list[str], seconds: float, other_keras: bool = False) -> int | None:
    """Its exit code; None if it took too long. Which Keras is active is decided where it is first asked for, in the fork."""
    child = os.fork()
    if child == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        if other_keras:
            os.environ["TF_USE_LEGACY_KERAS"] = "0" if os.environ["TF_USE_LEGACY_KERAS"] == "1" else "1"
        import pytest

        os._exit(int(pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *arguments])))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def report(results: list[dict]) -> str:
    """What came of it, as Markdown."""
    found = [r for r in results if r["outcome"] != NO_TEST]
    noticed = sum(r["outcome"] in (KILLED, TIMEOUT) for r in found)
    lines = ["# Mutants", "", f"{noticed} of {len(found)} noticed.", "", "| package | noticed | of |", "|---|---|---|"]
    for package in PACKAGES:
        own = [r for r in found if r["module"].startswith(f"tl_keras/{package}/")]
        lines.append(f"| {package} | {sum(r['outcome'] != LIVED for r in own)} | {len(own)} |")
    lines += ["", "## Those that lived", ""]
    for r in found:
        if r["outcome"] == LIVED:
            lines += [
                f"`{r['module']}` line {r['line']}, {', '.join(r['tests'])}:",
                "",
                *(f"    {d}" for d in r["diff"]),
                "",
            ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Draw mutants, and try those that have not been tried."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=40, help="how many mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the drawing")
    parser.add_argument("--only", default=",".join(PACKAGES), help="packages, with commas between")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further mutant after this many minutes")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that the tests of one mutant may take")
    parser.add_argument("--out", default="runs/mutants", help="folder for the results")
    given = parser.parse_args()
    out = Path(given.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "report.json"
    results = json.loads(kept.read_text("utf-8")) if kept.is_file() else []
    tried = {(r["module"], r["operator"], r["occurrence"]) for r in results}
    # The same number from every package, so that the largest does not hide the others.
    packages = given.only.split(",")
    drawn = []
    for package in packages:
        everything = list(mutants(package))
        drawn.append(
            random.Random(given.seed).sample(everything, min(len(everything), -(-given.count // len(packages))))
        )
    queue = [m for row in zip(*drawn, strict=False) for m in row][: given.count]

    tree = out / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv*", ".work", "runs", "build", "dist", "__pycache__")
    )
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", TF_CPP_MIN_LOG_LEVEL="3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
    sys.dont_write_bytecode = True
    # Imported once, for all forks; nothing is computed here, so that no thread of TensorFlow is lost in them.
    import tensorflow  # noqa: F401
    import tensorflow_text  # noqa: F401

    end = time.monotonic() + 60 * given.minutes
    for mutant in queue:
        if (mutant["module"], mutant["operator"], mutant["occurrence"]) in tried:
            continue
        if time.monotonic() > end:
            break
        tests = nearest_tests(mutant["module"])
        result = try_mutant(tree, mutant, tests, given.timeout)
        results.append(result)
        kept.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")
        (out / "report.md").write_text(report(results), "utf-8")
        print(
            f"{result['outcome']:8} {result['seconds']:6.1f} s  {mutant['module']}:{mutant['line']}  {' '.join(result['diff'])}"
        )
    shutil.rmtree(tree, ignore_errors=True)
    print(f"{out / 'report.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
