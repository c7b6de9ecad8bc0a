"""What following the advice of `tl-keras advise` costs, against the best way of transfer that was measured.

    python benchmarks/advice.py                  # replay of tl_keras/advice/rules.py on what benchmarks/transfer_modes.py measured
    python benchmarks/advice.py --gains          # ERRORS_REMOVED anew, to put into rules.py

Each row of the results with mode `evidence` is what `advise` found out from the training texts of one seed; the rules are asked again what
they recommend then, and charged the difference to the best of freeze, top and fine-tune in the same table.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from labelled_data import DATA
from rows import read_rows
from transfer_modes import RESULTS, cells

from tl_keras.advice.rules import Evidence, recommend


def gains(found, without: str | None = None) -> dict[str, dict[int, dict[str, float]]]:
    """Fraction of the frozen encoder's errors that are gone, mean over data sets: what rules.py keeps as ERRORS_REMOVED.

    Args:
        found: of `cells`.
        without: a data set to leave out, to see how the rules do on what they were not made from.
    """
    shares: dict = {}
    for (data, labels), cell in found.items():
        if data == without or not {"freeze", "top", "fine-tune"} <= set(cell):
            continue
        mean = {mode: statistics.mean(row["accuracy"] for row in cell[mode]) for mode in ("freeze", "top", "fine-tune")}
        kind = "pair" if DATA[data].text_pair else "single"
        for mode in ("top", "fine-tune"):
            share = (mean[mode] - mean["freeze"]) / max(100 - mean["freeze"], 1e-9)
            shares.setdefault(kind, {}).setdefault(labels, {}).setdefault(mode, []).append(share)
    return {
        kind: {n: {m: round(statistics.mean(s), 3) for m, s in by_mode.items()} for n, by_mode in sorted(by.items())}
        for kind, by in shares.items()
    }


def replay(found) -> str:
    """What following the rules costs: the best mode's mean accuracy less that of the recommended one, in points."""
    lines = [
        "| data | labels | freeze | top | fine-tune | recommended (seeds) | loss | loss, rules made without this data |",
        "|---" * 8 + "|",
    ]
    losses, blind, always = [], [], {mode: [] for mode in ("freeze", "top", "fine-tune")}
    for (data, labels), cell in found.items():
        if not {*always, "evidence"} <= set(cell):
            continue
        mean = {mode: statistics.mean(row["accuracy"] for row in cell[mode]) for mode in always}
        best = max(mean.values())
        rest = gains(found, without=data)
        kind = "pair" if DATA[data].text_pair else "single"
        # The only pairs there are: without them, what single texts say has to do.
        rest = {kind: rest.get(kind) or rest.get("single")} if rest else None
        # Few-shot learning is measured elsewhere (few_labels.py): asked is what would be taken without it.
        evidence = [Evidence(**{**row["evidence"], "labels_per_class": None}) for row in cell["evidence"]]
        chosen = [recommend(entry).way for entry in evidence]
        loss = statistics.mean(best - mean[way] for way in chosen)
        losses.append(loss)
        unseen = None
        if rest and rest[kind]:
            unseen = statistics.mean(best - mean[recommend(entry, rest).way] for entry in evidence)
            blind.append(unseen)
        for mode, accuracy in mean.items():
            always[mode].append(best - accuracy)
        said = ", ".join(f"{way} ({chosen.count(way)})" for way in dict.fromkeys(chosen))
        shown = " | ".join(f"{mean[mode]:.1f}" for mode in always)
        lines.append(
            f"| {data} | {labels:,} | {shown} | {said} | {loss:.1f} | {'' if unseen is None else f'{unseen:.1f}'} |"
        )
    if not losses:
        return "nothing to replay yet: measure freeze, top, fine-tune and evidence first"
    constant = ", ".join(f"always {mode} {statistics.mean(entry):.2f}" for mode, entry in always.items())
    lines += ["", f"Mean loss against the best choice: {statistics.mean(losses):.2f} points (target: at most 1)."]
    if blind:
        lines.append(f"With the gains made from the other data sets only: {statistics.mean(blind):.2f} points.")
    return "\n".join([*lines, f"For comparison: {constant}.", *forecast_errors(found)])


def forecast_errors(found) -> list[str]:
    """How far the accuracy that `advise` expects from the training texts is from the one that was measured, by seed."""
    lines = []
    for mode, name in (("freeze", "frozen"), ("tf-idf", "words")):
        gaps = []
        for cell in found.values():
            measured = {row["seed"]: row["accuracy"] for row in cell.get(mode, [])}
            for row in cell.get("evidence", []):
                expected = row["evidence"][name]
                if expected is not None and row["seed"] in measured:
                    gaps.append(100 * expected - measured[row["seed"]])
        if gaps:
            off = statistics.mean(map(abs, gaps))
            lines.append(
                f"The expected accuracy of {mode} is off by {off:.1f} points on average, bias {statistics.mean(gaps):+.1f} ({len(gaps)} runs)."
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--gains", action="store_true", help="see above")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file with the raw rows")
    options = parser.parse_args()
    found = cells(read_rows(options.results), Path(options.encoder).name)
    print(json.dumps(gains(found), indent=4) if options.gains else replay(found))


if __name__ == "__main__":
    main()
