"The command line: help, misuse, and what it costs to start."

import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest

from timemoe_lab.cli import main, make_parser

VERBS = sorted(make_parser()._subparsers._group_actions[0].choices)


def test_every_verb_of_the_design_is_there():
    wanted = {"demo", "simulate", "prepare", "train", "resume", "score", "evaluate", "agent", "tune", "report"}
    assert wanted | {"plan", "convert", "bench"} <= set(VERBS)


@pytest.mark.parametrize("words", [[], *([verb] for verb in VERBS)], ids=" ".join)
def test_help_is_printed(words, capsys):
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0 and said.startswith(f"usage: timemoe-lab {' '.join(words)}".rstrip())
    assert "%%" not in said and "None" not in said


def test_help_names_every_verb_with_a_line(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for verb in VERBS:
        assert sum(line.startswith(f"  {verb} ") for line in lines) == 1, verb
        assert any(line.strip().startswith(f"$ timemoe-lab {verb}") for line in lines), verb
    assert max(map(len, lines)) <= 80


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"timemoe-lab {version('timemoe_lab')}\n"


@pytest.mark.parametrize(
    "words, meant",
    [(["prepar"], "prepare"), (["train", "store", "--out", "r", "--stpes", "3"], "--steps"), (["lpan"], "plan")],
    ids=str,
)
def test_a_word_that_is_almost_right_is_answered_with_the_right_one(words, meant, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2 and capsys.readouterr().err.endswith(f"did you mean {meant}?\n")


def test_a_command_alone_lists_what_there_is(capsys):
    assert main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: timemoe-lab [-h] [--version] COMMAND ...")
    assert "Your recordings:" in said and said.splitlines()[-1] == "timemoe-lab: which COMMAND?"


def test_each_step_names_the_next_and_the_chain_can_be_followed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = ["--classes", "0,6", "--reps", "1", "--healthy-reps", "3", "--seconds", "0.5"]
    assert main(["simulate", "my raw", *jobs]) == 0
    then = capsys.readouterr().out.splitlines()[-1]
    assert then == "next: timemoe-lab prepare 'my raw' --out STORE"
    assert main(shlex.split(then)[2:]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: timemoe-lab train STORE --out RUN"
    assert main(["plan", "--json"]) == 0 and "next" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, said",
    [
        (["train", "raw", "--out", "r"], "raw: a folder with files, not a store; make one of them with: timemoe"),
        (["report", "store"], "store: a store, not a run; train one on it with: timemoe-lab train store --out RUN"),
        (["train", "run", "--out", "r"], "run: a run, not a store; make one with: timemoe-lab prepare RAW --out run"),
        (["resume", "nowhere"], "nowhere: no such folder, so not a run; make one with: timemoe-lab train STORE"),
    ],
    ids=str,
)
def test_a_folder_of_another_kind_is_named_with_the_way_on(words, said, tmp_path, monkeypatch, capsys):
    for name in ("raw/0_a.csv", "store/index.json", "run/config.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["trian"], ["train"], ["score", "run"], ["prepare", "raw", "--fs", "-1"]], ids=str)
def test_a_mistyped_command_is_misuse(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.splitlines()[-1].startswith("timemoe-lab") and "Traceback" not in said


def test_help_waits_for_no_pytorch():
    slow = {"torch", "sklearn", "scipy.io", "scipy.signal", "scipy.stats", "matplotlib", "optuna"}
    code = f"import sys, timemoe_lab.cli as cli; cli.make_parser(); print(*{slow} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"
