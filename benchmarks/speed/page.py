"""The page that `make bench` writes from its results: tables and plots."""

from __future__ import annotations

import statistics
from pathlib import Path


def write_page(results: dict, folder: Path) -> None:
    """Write `README.md` and `plots/speed.png` into a folder."""
    machine = results["machine"]
    lines = [
        "# Speed and cost, measured",
        "",
        "Made by `make bench` ([raw results](results.json)); how it measures stands in `benchmarks/speed/run.py`. Ratios of CPU seconds",
        "where nothing else is said; above 1 this package is faster, or needs less. Median of the rounds, least and most beside it.",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} thread(s); Python {machine['python']}, TensorFlow "
        f"{machine['tensorflow']}; matrices multiplied at {machine['gflops_a_cpu_second']} GFLOP a CPU second; load at the start "
        f"{machine['load_at_start']}; {machine['texts']}.",
        "",
    ]
    for part in dict.fromkeys(row["part"] for row in results["rows"]):
        chosen = [row for row in results["rows"] if row["part"] == part]
        lines += [
            f"## {part}",
            "",
            "| | ratio | least to most | wall time | ours | theirs | of the matmul rate | load |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_line(row) for row in chosen] + [""]
    if results["skipped"]:
        lines += ["## Skipped", "", *(f"- {text}" for text in results["skipped"]), ""]
    if _plot(results["rows"], folder / "plots" / "speed.png"):
        lines += ["![ratios](plots/speed.png)", ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _line(row: dict) -> str:
    unit = {"cpu_s": "ms CPU an item", "wall_s": "ms an item"}.get(row["measure"], row["measure"])
    scale = 1000 if row["measure"] in ("cpu_s", "wall_s") else 1
    ours = f"{scale * statistics.median(row['first']):.3g} {unit}"
    share = f"{100 * row['of_matmul_rate']:.0f} %" if "of_matmul_rate" in row else ""
    if "ratio" not in row:
        return f"| {row['row']} | | | | {ours} | | {share} | {row['load']} |"
    theirs = f"{scale * statistics.median(row['second']):.3g}"
    span = f"{row['least']:.2f} to {row['most']:.2f}"
    wall = f"{row['wall_ratio']:.2f}" if row["measure"] == "cpu_s" else ""
    return f"| {row['row']} | **{row['ratio']:.2f}** | {span} | {wall} | {ours} | {theirs} | {share} | {row['load']} |"


def _plot(rows: list[dict], path: Path) -> bool:
    """A bar for each ratio, on a logarithmic axis; returns whether there was one."""
    chosen = [row for row in rows if "ratio" in row][::-1]
    if not chosen:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.35 * len(chosen) + 1), layout="constrained")
    middle = [row["ratio"] for row in chosen]
    spans = [[row["ratio"] - row["least"] for row in chosen], [row["most"] - row["ratio"] for row in chosen]]
    axes.barh([f"{row['part']}: {row['row']}" for row in chosen], middle, xerr=spans, color="#4477aa", ecolor="#333333")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("theirs / ours (right of 1: this package is faster or smaller)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True
