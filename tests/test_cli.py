"The command line: help, misuse, and what it costs to start."

import subprocess
import sys

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
        assert any(line.startswith(f"    {verb}") for line in lines), verb


@pytest.mark.parametrize(
    "words", [[], ["trian"], ["train"], ["score", "run"], ["prepare", "raw", "--fs", "-1"]], ids=str
)
def test_a_mistyped_command_is_misuse(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.splitlines()[-1].startswith("timemoe-lab") and "Traceback" not in said


def test_help_waits_for_no_pytorch():
    slow = {"torch", "sklearn", "scipy.io", "scipy.signal", "scipy.stats", "matplotlib", "optuna"}
    code = f"import sys, timemoe_lab.cli as cli; cli.make_parser(); print(*{slow} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"
