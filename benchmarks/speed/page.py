"""The page that `make bench` writes from its results: one table of ratios, what stands alone, and plots."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

NAMES = {
    "fine-tune": "Fine-tuning",
    "frozen": "Frozen encoder",
    "encode": "Encoding",
    "serving": "Serving",
    "pipeline": "Input pipeline",
    "start": "Start-up",
    "growth": "Growth",
    "memory": "Many models",
}
UNITS = {"cpu_s": "CPU ms", "wall_s": "ms", "total_cpu_s": "CPU s", "p50_ms": "ms", "p99_ms": "ms", "cold_start_s": "s"}


def write_page(results: dict, folder: Path) -> None:
    """Write `README.md` and the plots into a folder; what stands below the line `<!-- by hand -->` of an older page stays."""
    machine, parts = results["machine"], {part["part"]: part for part in results["parts"]}
    rows = [row for part in results["parts"] for row in part["rows"]]
    path, plots = folder / "README.md", folder / "plots"
    plots.mkdir(exist_ok=True)
    by_hand = path.read_text("utf-8").partition("<!-- by hand -->")[2] if path.exists() else ""
    lines = [
        "# Speed and cost, measured",
        "",
        "`make bench DATA=folder` makes this page, its plots and [results.json](results.json); `make bench PART=serving` measures one part.",
        "",
        "Each row compares two ways that do the same with the same weights (all-MiniLM-L6-v2), texts, seeds and number of threads. They run in",
        "turn, A B A B, each in a process of its own. Counted are **CPU seconds** of the whole process, which other work on a machine changes",
        "least; `make bench` measures wall time too. A ratio above 1 means that this package needs less. Given are the median and the range of",
        "the rounds; a part measured once has no range.",
        "",
        f"{machine['cores']} cores, {machine['threads']} thread(s) for each process. Compare within a row, not between parts: they were measured",
        "on machines of different speed, with more or less other work beside.",
        "",
        *_machines(results["parts"]),
        "",
        *_notes(results["parts"]),
        "## Ratios",
        "",
        "| part | this package ... | ratio | range | target | ours | theirs |",
        "|---|---|---|---|---|---|---|",
        *(_ratio(row) for row in rows if "ratio" in row),
        "",
        "![ratios](plots/ratios.png)",
        "",
        *_useful(parts),
        *_alone(parts),
        *_start(parts, plots),
        *_growth(parts, plots),
        *_memory(parts, plots),
    ]
    skipped = [text for part in results["parts"] for text in part["skipped"]]
    if skipped:
        lines += ["## Skipped", "", *(f"- {text}" for text in skipped), ""]
    lines += ["## Versions", ""]
    lines += [f"- {name}: {', '.join(found)}" for name, found in machine["environments"].items()]
    lines += ["", "<!-- by hand -->" + (by_hand or "\n")]
    _plot_ratios([row for row in rows if "ratio" in row], plots / "ratios.png")
    path.write_text("\n".join(lines), encoding="utf-8")


def _machines(parts: list[dict]) -> list[str]:
    """On what each part was measured."""
    lines = [
        "| part | date | processor | matrix products, GFLOP a CPU second | load when it began |",
        "|---|---|---|---|---|",
    ]
    for part in parts:
        cells = (
            NAMES[part["part"]],
            part["date"],
            part["processor"],
            f"{part['gflops_a_cpu_second']:.0f}",
            part["load"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _notes(parts: list[dict]) -> list[str]:
    """Which parts were measured on fewer texts than `make bench` takes."""
    less = [f"{NAMES[part['part']]} ({100 * part['share']:.0f} %)" for part in parts if part.get("share", 1) < 1]
    return [f"Measured on a share of the texts only (`--share`): {', '.join(less)}.", ""] if less else []


def _shown(row: dict, values: list[float]) -> str:
    a_time = row["measure"] in ("cpu_s", "wall_s")
    return f"{(1000 if a_time else 1) * statistics.median(values):.3g}"


def _ratio(row: dict) -> str:
    unit = UNITS.get(row["measure"], "MB" if row["measure"].endswith("_mb") else row["measure"])
    span = f"{row['least']:.2f} to {row['most']:.2f}" if len(row["first"]) > 1 else ""
    target = row.get("target")
    goal = "" if target is None else f"{target:g}, {'reached' if row['ratio'] >= target else '**missed**'}"
    ours, theirs = _shown(row, row["first"]), _shown(row, row["second"])
    return (
        f"| {NAMES[row['part']]} | {row['row']} | **{row['ratio']:.2f}** | {span} | {goal} | {ours} {unit} | {theirs} |"
    )


def _useful(parts: dict[str, dict]) -> list[str]:
    """How much of the machine's rate goes into products that real tokens need."""
    found = {}
    for name in ("fine-tune", "frozen", "encode"):
        for row in parts.get(name, {}).get("rows", ()):
            if "of_matmul_rate" in row:
                run = row["first_runs"][0]
                texts = row["row"].partition(":")[0] if name == "fine-tune" else "sst2"
                found[NAMES[name], texts] = (run["tokens"] / run["items"], row["of_matmul_rate"])
    if not found:
        return []
    lines = [
        "## Of the machine's rate",
        "",
        "FLOPs that the real tokens need (padding not counted, three passes when training), over the CPU time, over the rate of plain matrix",
        "products in the same run. The target for fine-tuning is 75 %.",
        "",
        "| | tokens a text | useful share |",
        "|---|---|---|",
    ]
    return [
        *lines,
        *(f"| {a}, {b} | {tokens:.0f} | {100 * share:.0f} % |" for (a, b), (tokens, share) in found.items()),
        "",
    ]


def _alone(parts: dict[str, dict]) -> list[str]:
    """The server's clients."""
    rows = {
        row["measure"]: row["first"]
        for row in parts.get("serving", {}).get("rows", ())
        if "tl-keras serve" in row["row"]
    }
    if not rows:
        return []
    lines = [
        "## `tl-keras serve`",
        "",
        "One text a request, clients and server on the same machine. CPU time is the server's alone.",
        "",
        "| clients | texts/s | CPU ms a text | median, ms | 99 %, ms |",
        "|---|---|---|---|---|",
    ]
    for count in (1, 2, 8):
        cells = [
            f"{statistics.median(rows[f'{key}_{count}']):.3g}" for key in ("rows_per_s", "cpu_ms", "p50_ms", "p99_ms")
        ]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return [*lines, ""]


def _start(parts: dict[str, dict], plots: Path) -> list[str]:
    run = next(
        (row["first_runs"][0] for row in parts.get("start", {}).get("rows", ()) if "each" in row["first_runs"][0]), None
    )
    if run is None:
        return []
    cpu = {name: seconds[0] for name, seconds in run["each"].items()}
    slowest = max(cpu, key=cpu.__getitem__)
    figure, axes = _figure(7, 0.2 * len(cpu) + 1)
    axes.barh(list(cpu)[::-1], list(cpu.values())[::-1], color="#4477aa")
    axes.axvline(0.7, color="#aa3377", linestyle="--", label="target: below 0.7")
    axes.set_xlabel("CPU seconds of COMMAND --help")
    axes.legend(loc="lower right")
    _save(figure, plots / "help.png")
    return [
        "## Command line",
        "",
        f"`--help` of {len(cpu)} commands takes {min(cpu.values()):.2f} to {cpu[slowest]:.2f} CPU seconds (`{slowest}`; target: below 0.7); a wrong "
        f"option is refused after {run['wrong_option_s']:.2f} (target: below 1).",
        "",
        "![--help](plots/help.png)",
        "",
    ]


def _growth(parts: dict[str, dict], plots: Path) -> list[str]:
    found: dict[str, list[tuple[float, float, float]]] = {"texts": [], "tokens a text": []}
    for row in parts.get("growth", {}).get("rows", ()):
        number, _, kind = row["row"].partition(" ")
        run = row["first_runs"][0]
        found[kind].append((float(number), run["cpu_s"], run["more_mb"]))
    if not all(len(points) > 1 for points in found.values()):
        return []
    figure, axes = _figure(9, 3.6, 2)
    lines = [
        "## Growth",
        "",
        "| encoding, against | from | to | slope of CPU time | MB more |",
        "|---|---|---|---|---|",
    ]
    for one, (kind, points) in zip(axes, found.items(), strict=True):
        numbers, seconds, memory = zip(*points, strict=True)
        time_slope = slope(numbers, seconds)
        one.loglog(numbers, seconds, "o-", color="#4477aa", label=f"CPU seconds, slope {time_slope:.2f}")
        one.loglog(numbers, memory, "s--", color="#aa3377", label="MB more")
        one.set_xticks(numbers, labels=[f"{number:,.0f}" for number in numbers])
        one.minorticks_off()
        one.set_xlabel(kind)
        one.legend()
        span = f"{memory[0]:.0f} with the fewest, {memory[-1]:.0f} with the most"
        lines.append(f"| {kind} | {numbers[0]:,.0f} | {numbers[-1]:,.0f} | {time_slope:.2f} | {span} |")
    _save(figure, plots / "growth.png")
    return [
        *lines,
        "",
        "Slope of the straight line through the logarithms: 1 is in proportion. Texts: reviews of nsmc through one block of ko-en-small; tokens: 128 paragraphs",
        "cut to so many. Memory: by how much the process grew while it encoded, beyond what the first 1,000 texts had taken (1 stands for nothing);",
        "100,000 vectors of 384 numbers are 154 MB by themselves.",
        "",
        "![growth](plots/growth.png)",
        "",
    ]


def _memory(parts: dict[str, dict], plots: Path) -> list[str]:
    rows = parts.get("memory", {}).get("rows", ())
    if not rows:
        return []
    figure, axes = _figure(7, 3.6)
    lines = [
        "## Many models in one process",
        "",
        "Resident memory after each of 14 builds and short fits, `clear_session` and `gc.collect` between (target: below 20 MB a model).",
        "",
        "| | first | second | last | MB a model (median slope) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        name, resident = row["row"].rpartition(", ")[2], row["first_runs"][0]["resident_mb"]
        axes.plot(range(1, len(resident) + 1), resident, "o-", label=name)
        lines.append(f"| {name} | {resident[0]:,} | {resident[1]:,} | {resident[-1]:,} | {row['first'][0]:.1f} |")
    axes.set_xlabel("models trained so far")
    axes.set_ylabel("resident memory, MB")
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, plots / "memory.png")
    return [*lines, "", "![memory](plots/memory.png)", ""]


def slope(numbers: tuple[float, ...], values: tuple[float, ...]) -> float:
    """The slope of the least-squares line through the logarithms.

    Example:
        >>> round(slope((1.0, 10.0, 100.0), (2.0, 20.0, 200.0)), 3)
        1.0
    """
    x, y = [math.log(number) for number in numbers], [math.log(value) for value in values]
    return statistics.linear_regression(x, y).slope


def _figure(width: float, height: float, columns: int = 1):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")


def _save(figure, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _plot_ratios(rows: list[dict], path: Path) -> None:
    """A bar for each ratio, on a logarithmic axis, with its target."""
    if not rows:
        return
    rows = rows[::-1]
    figure, axes = _figure(10, 0.27 * len(rows) + 1)
    middle = [row["ratio"] for row in rows]
    spans = [[row["ratio"] - row["least"] for row in rows], [row["most"] - row["ratio"] for row in rows]]
    names = [f"{NAMES[row['part']]}: {row['row']}" for row in rows]
    axes.barh(names, middle, xerr=spans, color="#4477aa", ecolor="#333333")
    aimed = [(i, row["target"]) for i, row in enumerate(rows) if "target" in row]
    if aimed:
        axes.scatter(
            [t for _, t in aimed], [i for i, _ in aimed], marker="|", s=120, color="#aa3377", zorder=3, label="target"
        )
        axes.legend(loc="lower right")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16, 32], labels=["1/4", "1/2", "1", "2", "4", "8", "16", "32"])
    axes.margins(y=0.01)
    axes.set_xlabel("theirs / ours (right of 1: this package is faster or smaller)")
    _save(figure, path)
