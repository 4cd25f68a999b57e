"""Kills commands of the lab at random moments, and holds what comes of them against a run that nobody disturbed.

    python tests/chaos.py [WHAT ...] [--count 50] [--seed 0]

After each kill what is visible is the result from before the command or the new one, whole; the command is given once
more, and has to end with the bytes of the undisturbed one and without leftovers. Exit 1 when anything differs.
"""

import argparse
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from conftest import CLOCK, short_windows, told_parts

from timemoe_lab.config import tiny
from timemoe_lab.data.motor import campaign, write_campaign
from timemoe_lab.data.store import Store
from timemoe_lab.files import InputError, write_json
from timemoe_lab.run.folder import RunFolder, start_run

LOCKS = re.compile(r"\.(lock|events\.lock|evaluating|turn|making)")
LEFT = re.compile(r"\..+-[a-z0-9_]{8}|\.evaluated|scores\.new|.*\.part")


class Killer:
    "A process that runs commands and kills them where it is told to, see killing.py."

    def __init__(self, folder):
        folder.mkdir()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, Path(__file__).with_name("killing.py"), folder], **pipes)

    def __call__(self, words, **how):
        self.process.stdin.write(json.dumps({"command": [str(w) for w in words]} | how) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


def config():
    "Sixteen steps of short windows, three beats."
    c = told_parts(short_windows(tiny()))
    recipe = {"steps": 16, "batch": 4, "warmup": 4, "aux_warmup": 8, "log_every": 2, "checkpoint_every": 4}
    return replace(c, train=replace(c.train, **recipe), agent=replace(c.agent, every_steps=7))


# What a command is given, what it leaves, and how it is given again


def train_words(at):
    new = ["train", at / "store", "--out", at / "run", "--config", at / "config.json"]
    return ["resume", at / "run"] if (at / "run/config.json").is_file() else new


WORDS = {
    "prepare": lambda at: ["prepare", at / "raw", "--out", at / "made", "--workers", 2, "--preset", "tiny"],
    "train": train_words,
    "agent": lambda at: ["agent", at / "fresh"],
    "score": lambda at: ["score", at / "run", at / "raw", "--out", at / "scores"],
    "evaluate": lambda at: ["evaluate", at / "run", at / "raw", "--rows", "lab"],
    "report": lambda at: ["report", at / "run"],
    "tune": lambda at: ["tune", at / "store", "--out", at / "study", "--trials", 2, "--seeds", 1, *TUNE(at)],
}
TUNE = lambda at: ["--config", at / "config.json", "--steps", 8]
RESULT = {"prepare": "made", "train": "run", "agent": "fresh", "score": "scores", "tune": "study"}
RESULT |= {"evaluate": "run", "report": "run"}


def plain_event(line):
    "A line of a log without what clock and machine say."
    return {k: v for k, v in json.loads(line).items() if k not in CLOCK}


def digest(path):
    "What a file says, without what clock and machine say."
    if path.name == "events.jsonl":
        said = json.dumps([plain_event(line) for line in path.read_text().splitlines()]).encode()
    elif path.name == "report.html":
        said = re.sub(rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?", b"", path.read_bytes())
    else:
        said = path.read_bytes()
    return hashlib.sha256(said).hexdigest()


def told(what, at):
    "The result of a command: every file that it promises."
    if what == "tune":
        return study(at / "study")
    folder = at / RESULT[what]
    files = [p for p in folder.rglob("*") if p.is_file() and not LOCKS.fullmatch(p.name)] if folder.is_dir() else []
    return {str(p.relative_to(folder)): digest(p) for p in sorted(files)}


def study(folder):
    "What a search has found: settings and values of its trials, and the best set."
    if not (folder / "study.json").is_file():
        return {}
    from timemoe_lab.agent.tune import study_facts

    facts = study_facts(folder)
    rows = [{k: r.get(k) for k in ("number", "value", "state", "params")} for r in facts["history"]]
    done = [r for r in rows if r["value"] is not None]
    return {"trials": sorted({json.dumps([r["value"], r["params"]]) for r in done}), "best": facts["best"] is not None}


def visible(what, at):
    "What somebody may look at right after a kill: the part of a result that has to be whole."
    if what in ("score", "prepare"):
        return told(what, at)
    if what == "evaluate":
        RunFolder(at / "run")  # whoever opens it finishes what was about to appear
        found = told(what, at)
        return {k: v for k, v in found.items() if k.startswith("scores/") or k == "evaluation.json"}
    if what == "report":
        return {k: v for k, v in told(what, at).items() if k == "report.html"}
    return None


def leftovers(at):
    "What no command may leave."
    return sorted(str(p.relative_to(at)) for p in at.rglob(".*") if LEFT.fullmatch(p.name))


# Kills


@contextmanager
def start_of(what, home):
    "A folder as the command finds it, under the same path each time, as files name the folders that they are made of."
    at = home / "at"
    shutil.copytree(home / "start", at)
    try:
        yield at
    finally:
        shutil.rmtree(at)


def chaos(what, home, killer, count, draw):
    "Kills one command `count` times; what went wrong, a line each."
    with start_of(what, home) as at:
        before = visible(what, at)
        done = killer(WORDS[what](at))
        if done["status"]:
            return [f"{what}: fails undisturbed: {done['err'].strip().splitlines()[-1]}"]
        n = int(done["report"])
        whole = told(what, at)
        after = visible(what, at)
    wrong = []
    for number in range(count):
        point = draw.randint(1, n)
        name = f"{what}, kill {number + 1} at point {point} of {n}"
        with start_of(what, home) as at:
            killer(WORDS[what](at), at=point)
            seen = visible(what, at)
            if seen is not None and seen not in (before, after):
                wrong.append(f"{name}: neither the old result nor the new one: {differing(seen, after)}")
            again = killer(WORDS[what](at))
            if again["status"] and not ("isn't empty" in again["err"] and seen == after):  # it had come to its end
                wrong.append(f"{name}: given again it fails: {again['err'].strip().splitlines()[-1]}")
            elif told(what, at) != whole:
                wrong.append(f"{name}: another result than undisturbed: {differing(told(what, at), whole)}")
            wrong += [f"{name}: left {path}" for path in leftovers(at)]
    return wrong


def differing(ours, theirs):
    "The names of what differs."
    return ", ".join(sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))[:5])


def prepare_all(home, killer):
    "Recordings, a store, a finished run with an evaluation, and one that has just begun."
    at = home / "at"
    start = home / "start"
    jobs = campaign(classes=(0, 6), freqs=(60,), loads=(100,), reps=2, healthy_reps=8, switched_s=(0.3, 0.6))
    write_campaign(at / "raw", jobs, seconds=0.9, seed=1)
    write_json(at / "config.json", {"config": asdict(config())})
    made = [["prepare", at / "raw", "--out", at / "store"], [*train_words(at)]]
    made[1][3] = at / "begun"
    for words in made:
        done = killer(words)
        if done["status"]:
            raise InputError(done["err"])
    start_run(at / "fresh", Store(at / "store"), config())
    shutil.move(at, start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", default=list(WORDS), help=f"of {', '.join(WORDS)} (default: all)")
    parser.add_argument("--count", type=int, default=50, help="kills of each (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        killer = Killer(home / "killer")
        prepare_all(home, killer)
        for what in options.what or WORDS:
            began = time.monotonic()
            begin(what, home, killer)
            wrong = chaos(what, home, killer, options.count, draw)
            failed += wrong
            print(f"{what}: {options.count} kills, {len(wrong)} wrong, {time.monotonic() - began:.0f} s", flush=True)
            print("".join(f"  {line}\n" for line in wrong), end="", flush=True)
        killer.close()
    return int(bool(failed))


def begin(what, home, killer):
    "Puts the folder in the state that the command starts from."
    start = home / "start"
    for name in ("run", "scores", "study", "made"):
        shutil.rmtree(start / name, ignore_errors=True)
    if what in ("score", "evaluate", "report"):
        shutil.copytree(start / "begun", start / "run")
    if what in ("evaluate", "report"):
        with start_of(what, home) as at:  # an older evaluation, of fewer rows
            done = killer(["evaluate", at / "run", at / "raw", "--rows", "lab,spec"])
            assert not done["status"], done["err"]
            shutil.rmtree(start / "run")
            shutil.copytree(at / "run", start / "run")


if __name__ == "__main__":
    sys.exit(main())
