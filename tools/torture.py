"""The long campaign against the command line: kills, full disks, damaged files, wrong options, several processes at once.

    make torture                                   # all of it, with what it takes
    python tools/torture.py --only kills --moments 20 --out runs/torture

Everything runs as a user runs it, in processes of their own, on a table of made-up reviews and the encoder that comes with the package.
`report.json` and `report.md` in the output folder say what was tried and how it ended; the exit code is 1 if anything ended otherwise than
`docs/reliability.md` promises.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

TRACEBACK = "Traceback (most recent call last)"


@dataclasses.dataclass
class Ended:
    """How a command ended.

    Args:
        code: its exit code; negative for a signal.
        out: what it printed.
        err: what it said on stderr.
        seconds: how long it took.
    """

    code: int
    out: str
    err: str
    seconds: float

    @property
    def fault_lines(self) -> list[str]:
        """The lines in which the command line names a fault."""
        return [line for line in self.err.splitlines() if line.startswith("tl-keras: ")]

    @property
    def refused_well(self) -> bool:
        """Exit code 2, one line, no traceback."""
        return self.code == 2 and len(self.fault_lines) == 1 and TRACEBACK not in self.err


class Campaign:
    """Runs commands in one folder, and counts.

    Args:
        folder: to work in.
        keras: 2 or 3.
        seed: of all that is drawn.
        encoder: handle; a smaller one than the package's makes more kills an hour.
        transfer: of training.
    """

    def __init__(self, folder: Path, keras: int, seed: int, encoder: str = "ko-en-small", transfer: str = "freeze"):
        self.folder = folder
        self.encoder = encoder
        self.transfer = transfer
        self.random = random.Random(seed)
        self.environment = {
            **os.environ,
            "TF_USE_LEGACY_KERAS": "1" if keras == 2 else "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        self.counts: dict[str, collections.Counter] = {}
        self.notes: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "reviews.csv"
        write_reviews(self.data, 60, self.random)

    def count(self, campaign: str, how: str, note: str | None = None) -> None:
        """Note how a case ended; `note` says more of one that should not have ended so."""
        # At once, so that a campaign that is itself cut off has said something.
        print(f"{campaign}: {how}", *([note] if note else []), file=sys.stderr, flush=True)
        self.counts.setdefault(campaign, collections.Counter())[how] += 1
        if note:
            self.notes.append(f"{campaign}: {note}")

    def start(self, *arguments, limit: int | None = None) -> subprocess.Popen:
        """Start `tl-keras ...`; with `limit`, no file may become larger than so many bytes, as on a full disk."""

        def full() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            [sys.executable, "-m", "tl_keras", *map(str, arguments)],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            preexec_fn=None if limit is None else full,
        )  # fmt: skip

    def run(self, *arguments, limit: int | None = None, kill_after: float | None = None) -> Ended:
        """Run a command to its end, or kill it (SIGKILL) after so many seconds."""
        started = time.perf_counter()
        process = self.start(*arguments, limit=limit)
        try:
            out, err = process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
        return Ended(process.returncode, out, err, time.perf_counter() - started)

    def train(self, out: Path, *more: str) -> list[str]:
        """A command that trains in seconds."""
        return [
            "train", "text-classification", "--train", str(self.data), "--out", str(out), "--transfer", self.transfer, "--epochs", "3",
            "--seq-length", "16", "--batch-size", "8", "--encoder", self.encoder, *more,
        ]  # fmt: skip

    def index(self, data: Path, out: Path, *more: str) -> list[str]:
        """A command that builds an index."""
        return [
            "index",
            "--encoder",
            self.encoder,
            "--data",
            str(data),
            "--text",
            "text",
            "--out",
            str(out),
            "--seq-length",
            "64",
            *more,
        ]


def write_reviews(path: Path, rows: int, chance: random.Random) -> None:
    """A table of made-up reviews."""
    words = {"positive": ["good", "great", "fine"], "negative": ["bad", "awful", "dull"]}
    lines = ["text,label"]
    for row in range(rows):
        label = ("positive", "negative")[row % 2]
        lines.append(f"the film was {chance.choice(words[label])} number {row},{label}")
    path.write_text("\n".join(lines) + "\n", "utf-8")


def tiny_encoder(folder: Path) -> str:
    """A pair of one block of width 16 with random weights, which makes many more kills an hour: its folder."""
    if not folder.is_dir():
        os.environ["TF_USE_LEGACY_KERAS"] = "0"  # KerasHub knows no other
        import keras_hub

        from tl_keras.encoders.pair import write_encoder_pair
        from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary

        letters = "abcdefghijklmnopqrstuvwxyz0123456789"
        tokens = [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            "[MASK]",
            "the",
            "film",
            "was",
            "number",
            "good",
            "great",
            "fine",
            "bad",
            "awful",
        ]
        tokens += ["dull", *letters, *("##" + letter for letter in letters)]
        backbone = keras_hub.models.BertBackbone(
            len(tokens), num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=32, max_sequence_length=64
        )
        write_encoder_pair(
            folder,
            backbone,
            WordPieceVocabulary(tokens, WordPieceRules(lower_case=True, strip_accents=False)),
            seq_length=32,
        )
    return str(folder)


def weights_of(run: Path) -> dict[str, np.ndarray]:
    """All weights of a run's export."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(run / "saved_model" / "1" / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in names}


def same_run(one: Path, other: Path) -> bool:
    """Whether two runs have the same metrics and weights."""
    figures = []
    for run in (one, other):
        metrics = json.loads((run / "metrics.json").read_text())
        figures.append({name: value for name, value in metrics.items() if name != "train_seconds"})
    mine, theirs = weights_of(one), weights_of(other)
    return figures[0] == figures[1] and all(np.array_equal(mine[name], theirs[name]) for name in theirs)


def until_done(
    campaign: Campaign, name: str, command: Sequence[str], moments: Sequence[float], same: Callable[[], bool], **how
) -> None:
    """Kill a command at each of the moments, always going on with what is there; at the end let it finish, and compare."""
    for moment in moments:
        ended = campaign.run(*command, kill_after=moment)
        campaign.count(name, "killed" if ended.code == -signal.SIGKILL else "ended before it was to be killed")
        if ended.code not in (0, -signal.SIGKILL) and not finished(ended):
            campaign.count(name, "FAILED", f"after a kill at {moment:.1f} s: {last_line(ended)}")
    ended = campaign.run(*command)
    right = (ended.code == 0 or finished(ended)) and same()
    campaign.count(
        name,
        "ended as undisturbed" if right else "FAILED",
        None if right else f"killed at {', '.join(f'{m:.1f}' for m in moments)} s: {last_line(ended)}",
    )


def finished(ended: Ended) -> bool:
    """Whether a command says that there is nothing left to do."""
    return ended.refused_well and "finished" in ended.err


def last_line(ended: Ended) -> str:
    """The last line that a command said, and its exit code."""
    lines = ended.err.strip().splitlines()
    return f"exit {ended.code}: {lines[-1] if lines else 'nothing on stderr'}"


def kills(campaign: Campaign, moments: int) -> None:
    """Kill training at moments spread over its life; the same command again each time."""
    folder = campaign.folder
    whole = folder / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    # The same command for all: dropout begins anew at each checkpoint.
    often = ("--resume", "--checkpoint-every", "5")
    ended = campaign.run(*campaign.train(whole, *often))
    if ended.code:
        campaign.count("kills", "FAILED", last_line(ended))
        return
    spread = [ended.seconds * (place + 0.5) / moments for place in range(moments)]
    out = folder / "killed"
    command = campaign.train(out, *often)
    # One kill and one more go, at each moment of a whole life.
    for moment in spread:
        remove(out)
        until_done(campaign, "kills: train", command, [moment], lambda: same_run(out, whole))
    remove(out)
    until_done(campaign, "kills: train, again and again", command, spread, lambda: same_run(out, whole))
    nothing_left_behind(campaign, "kills")


def job_kills(campaign: Campaign, moments: int) -> None:
    """Kill export, index building and prediction at moments spread over their lives: each ends with what an undisturbed one gave."""
    folder = campaign.folder
    whole = trained(campaign, "job kills")
    if whole is None:
        return
    large = folder / "large.csv"
    write_reviews(large, 3000, campaign.random)
    exported, index, answers = folder / "exported", folder / "index", folder / "answers.csv"
    jobs = {
        "kills: export": (exported, ["export", whole, "--out", exported], lambda: contents_of_exports(exported)),
        "kills: index": (
            index,
            campaign.index(large, index, "--overwrite"),
            lambda: campaign.run("--verify", "search", index, "good film").out,
        ),
        "kills: predict": (
            answers,
            ["predict", whole, "--data", large, "--out", answers, "--resume"],
            lambda: answers.read_bytes(),
        ),
    }
    for name, (out, command, found) in jobs.items():
        remove(out)
        seconds = campaign.run(*command).seconds
        undisturbed = found()
        remove(out)
        spread = [seconds * (place + 0.5) / moments for place in range(moments)]
        until_done(
            campaign, name, command, spread, lambda found=found, same=undisturbed: bool(same) and found() == same
        )
    nothing_left_behind(campaign, "job kills")


def trained(campaign: Campaign, name: str) -> Path | None:
    """The run that other commands work on; None, and counted, if it cannot be trained."""
    whole = campaign.folder / "whole"
    if whole.is_dir():
        return whole
    ended = campaign.run(*campaign.train(whole))
    if ended.code:
        campaign.count(name, "FAILED", f"there is no run: {last_line(ended)}")
        return None
    return whole


def nothing_left_behind(campaign: Campaign, name: str) -> None:
    """Count whether killed commands left anything beside what they wrote, when the same command has ended."""
    left = [path.name for path in campaign.folder.iterdir() if path.name.startswith(".")]
    campaign.count(f"{name}: left behind", "nothing" if not left else "FAILED", ", ".join(left) or None)


def contents_of_exports(folder: Path) -> set[tuple]:
    """The variables of all versions in a folder, each of which must be whole: one element where all are alike."""
    from tl_keras.manifest import check_manifest

    for version in folder.iterdir():
        check_manifest(version)
    return {
        tuple(sorted((file.name, file.read_bytes()) for file in version.rglob("variables.data*")))
        for version in folder.iterdir()
    }


def remove(path: Path) -> None:
    """Remove a file or folder, and what is being written beside it."""
    for entry in [path, *path.parent.glob(f".{path.name}.*")]:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def full_disk(campaign: Campaign, moments: int) -> None:
    """Train where files may grow to so many bytes only, which ends as a full disk does; then again without the limit."""
    out = campaign.folder / "full"
    for power in range(8, 8 + moments):
        remove(out)
        limit = int(2 ** (power * 18 / (8 + moments)) * 16)
        ended = campaign.run(*campaign.train(out, "--resume"), limit=limit)
        if ended.code == 0:
            campaign.count("full disk", "had room")
            continue
        campaign.count(
            "full disk",
            "one line" if ended.refused_well else "FAILED",
            None if ended.refused_well else f"{limit}: {last_line(ended)}",
        )
        ended = campaign.run(*campaign.train(out, "--resume"))
        campaign.count(
            "full disk",
            "finished afterwards" if ended.code == 0 else "FAILED",
            None if ended.code == 0 else last_line(ended),
        )


def damage(campaign: Campaign, moments: int) -> None:
    """Flip a bit, cut or lose a file of a run, an export and an index: it must be named in one line, or not be used at all."""
    folder = campaign.folder
    whole = trained(campaign, "damage")
    if whole is None:
        return
    index = folder / "index"
    remove(index)
    campaign.run(*campaign.index(campaign.data, index))
    uses = {whole: ["predict", "{}", "good film"], index: ["search", "{}", "good film"]}
    expected = {source: campaign.run(*(part.format(source) for part in use)).out for source, use in uses.items()}
    for _ in range(moments * 2):
        source = campaign.random.choice(list(uses))
        copy = folder / "damaged"
        remove(copy)
        shutil.copytree(source, copy)
        file = campaign.random.choice(
            sorted(path for path in copy.rglob("*") if path.is_file() and path.suffix != ".png")
        )
        way = campaign.random.choice(["flip", "cut", "lose"])
        content = bytearray(file.read_bytes())
        if way == "lose":
            file.unlink()
        elif way == "cut" or not content:
            file.write_bytes(content[: len(content) // 2])
        else:
            content[campaign.random.randrange(len(content))] ^= 1 << campaign.random.randrange(8)
            file.write_bytes(content)
        ended = campaign.run(*(part.format(copy) for part in uses[source]))
        case = f"{way} {file.relative_to(copy)}"
        if ended.refused_well:
            campaign.count("damage", "one line")
        elif ended.code == 0 and ended.out == expected[source]:
            campaign.count("damage", "not needed, same answer")
        else:
            campaign.count("damage", "FAILED", f"{case}: {last_line(ended)}")


BAD_VALUES = (
    "-1",
    "0",
    "nan",
    "inf",
    "1e400",
    str(2**70),
    "x" * 300,
    "",
    " ",
    "\x1b[31m",
    "a\nb",
    "../..",
    "\udc80",
    "'; --",
)


def options(campaign: Campaign, moments: int) -> None:
    """Give options of every command values that they were not made for: done, or refused in one line."""
    import typer.main

    from tl_keras.cli.app import app

    def commands(command, path=()):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from commands(inner, (*path, name))
        else:
            yield path, command

    cases = []
    for path, command in commands(typer.main.get_command(app)):
        needed = [
            part for p in command.params if p.required and p.opts[0].startswith("--") for part in (p.opts[0], "nothing")
        ]
        places = ["nothing" for p in command.params if p.required and not p.opts[0].startswith("--")]
        for parameter in command.params:
            name = parameter.opts[0]
            if name.startswith("--") and name not in ("--help", "--out") and path != ("serve",):
                cases += [[*path, *places, *needed, name, value] for value in BAD_VALUES]
    for case in campaign.random.sample(cases, min(len(cases), moments * 10)):
        ended = campaign.run(*case)
        # Standard error holds warnings too; only a traceback or another exit code is a fault of ours.
        well = ended.code == 0 or ended.refused_well
        campaign.count(
            "options",
            "done" if ended.code == 0 else "one line" if well else "FAILED",
            None if well else f"{case}: {last_line(ended)}",
        )


def together(campaign: Campaign, moments: int) -> None:
    """Two processes write one run, one index and one file of answers at once: one may be refused, what is there is whole."""
    out, index = campaign.folder / "both", campaign.folder / "both-index"
    jobs = {
        "run": (campaign.train(out), ["predict", out, "good"]),
        "index": (campaign.index(campaign.data, index), ["search", index, "good"]),
    }
    for _ in range(max(moments // 5, 1)):
        for path in (out, index):
            remove(path)
        for name, (command, use) in jobs.items():
            started = [campaign.start(*command) for _ in range(2)]
            ended = [(p.communicate(), p.returncode) for p in started]
            ended = [Ended(code, *said, 0.0) for said, code in ended]
            fair = all(e.code == 0 or e.refused_well for e in ended) and any(e.code == 0 for e in ended)
            fair = fair and campaign.run(*use).code == 0
            note = None if fair else "; ".join(map(last_line, ended))
            campaign.count(f"two at once: {name}", "one whole result" if fair else "FAILED", note)
        if Path(campaign.encoder).is_dir():
            unpack_together(campaign)


def unpack_together(campaign: Campaign) -> None:
    """Two processes unpack one archive into an empty cache: both have the encoder, and the cache holds it once."""
    archive, cache = campaign.folder / "encoder.tar.gz", campaign.folder / "cache"
    shutil.make_archive(str(archive).removesuffix(".tar.gz"), "gztar", campaign.encoder)
    shutil.rmtree(cache, ignore_errors=True)
    campaign.environment["TFHUB_CACHE_DIR"] = str(cache)
    command = ["encode", "--encoder", archive, "--data", campaign.data, "--text", "text", "--seq-length", "16", "--out"]
    started = [campaign.start(*command, campaign.folder / f"vectors-{i}.npz") for i in range(2)]
    ended = [(p.communicate(), p.returncode) for p in started]
    ended = [Ended(code, *said, 0.0) for said, code in ended]
    entries = [path.name for path in cache.iterdir()] if cache.is_dir() else []
    fair = all(e.code == 0 for e in ended) and not any("partial" in name or ".tmp" in name for name in entries)
    note = None if fair else f"{'; '.join(map(last_line, ended))}; the cache holds {entries}"
    campaign.count("two at once: cache", "both have it" if fair else "FAILED", note)


CAMPAIGNS = {
    "kills": kills,
    "job-kills": job_kills,
    "full-disk": full_disk,
    "damage": damage,
    "options": options,
    "together": together,
}


def main() -> int:
    """Run the campaigns, write the report; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CAMPAIGNS), default=list(CAMPAIGNS))
    parser.add_argument(
        "--moments", type=int, default=20, help="how many kills, limits, damages (times 2) and wrong calls (times 10)"
    )
    parser.add_argument("--keras", type=int, choices=(2, 3), default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", default="ko-en-small", help='a handle, or "tiny" for one that is made here')
    parser.add_argument("--transfer", default="freeze")
    parser.add_argument("--out", type=Path, default=Path("runs/torture"))
    arguments = parser.parse_args()
    if arguments.encoder == "tiny":
        arguments.encoder = tiny_encoder(arguments.out / "tiny")
    campaign = Campaign(arguments.out / "work", arguments.keras, arguments.seed, arguments.encoder, arguments.transfer)
    started = time.perf_counter()
    for name in arguments.only:
        CAMPAIGNS[name](campaign, arguments.moments)
        write_report(campaign, arguments, time.perf_counter() - started)
    print((arguments.out / "report.md").read_text("utf-8"))
    return int(any(counts["FAILED"] for counts in campaign.counts.values()))


def write_report(campaign: Campaign, arguments: argparse.Namespace, seconds: float) -> None:
    """Write `report.json` and `report.md`."""
    counts = {name: dict(ends) for name, ends in campaign.counts.items()}
    content = {
        "keras": arguments.keras, "seed": arguments.seed, "moments": arguments.moments, "seconds": round(seconds), "counts": counts,
        "failed": campaign.notes,
    }  # fmt: skip
    (arguments.out / "report.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    rows = [f"| {name} | {end} | {number} |" for name, ends in counts.items() for end, number in sorted(ends.items())]
    failed = [f"- {note}" for note in campaign.notes] or ["- none"]
    head = f"Keras {arguments.keras}, seed {arguments.seed}, {arguments.moments} moments, {seconds:.0f} s"
    lines = [
        "# Torture",
        "",
        head,
        "",
        "| campaign | ended | times |",
        "|---|---|---|",
        *rows,
        "",
        "## Failed",
        "",
        *failed,
    ]
    (arguments.out / "report.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
