"What several test files share: small simulated folders and one trained run."

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from timemoe_lab.agent.heartbeat import beat
from timemoe_lab.config import tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, write_campaign
from timemoe_lab.data.readers import read_folder
from timemoe_lab.data.recording import Recording
from timemoe_lab.data.store import Store
from timemoe_lab.detect.evaluate import evaluate
from timemoe_lab.detect.evaluation import Evaluation
from timemoe_lab.detect.scorer import open_scorer
from timemoe_lab.files import read_json, sealed, turn, write_json
from timemoe_lab.run.folder import RunFolder, start_run
from timemoe_lab.train.loop import train

settings.register_profile("lab", deadline=None)  # a slow machine fails no property
settings.load_profile("lab")

os.environ["TIMEMOE_LAB_REUSE"] = "0"  # a test reads its own files; what another one made is not asked

CLOCK = {"time", "tokens_per_s", "waiting", "memory_mb", "trained_s"}  # what a repeated run need not repeat


def short_windows(config, context=64):
    "The same configuration with windows of so many tokens: what a step and a beat cost goes with them."
    return replace(config, data=replace(config.data, context=context, stride=context // 2))


def told_parts(config):
    "The same configuration with a score that is told its parts, so that a beat reads no synthetic faults."
    return replace(config, score=replace(config.score, parts=("memory", "statistics", "virtual")))


def rewrite(path, change):
    "Changes the values of one of the lab's JSON files in place, under a seal that fits."
    values = read_json(path)
    change(values)
    write_json(path, sealed(values))


def clockless(run):
    "The events of a run, without what the clock and the machine say."
    return [{k: v for k, v in e.to_json().items() if k not in CLOCK} for e in run.events()]


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    "Calls `make` with a new folder of that name, in one of the processes that test side by side; the folder."
    home = tmp_path_factory.getbasetemp()
    home = home.parent if "PYTEST_XDIST_WORKER" in os.environ else home

    def once(name, make):
        folder = home / "shared" / name
        done = folder.with_name(f"{name}.done")
        folder.parent.mkdir(exist_ok=True)
        with turn(folder.with_name(f"{name}.making")):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def raw(once) -> Path:
    "A raw folder: eight healthy recordings, four of LI2 and four of LI3 with the short switched in for a while."
    jobs = campaign(classes=(0, 5, 6), freqs=(60,), loads=(100,), reps=4, healthy_reps=8, switched_s=(0.3, 0.85))
    return once("raw", lambda folder: write_campaign(folder, jobs, seconds=1.2, seed=3))


@pytest.fixture(scope="session")
def short_config():
    "The tiny preset with sixty steps of short windows, and two beats."
    config = short_windows(tiny(), 128)
    recipe = replace(config.train, steps=60, batch=8, warmup=10, aux_warmup=20, checkpoint_every=20)
    return replace(config, train=recipe, agent=replace(config.agent, every_steps=30))


@pytest.fixture(scope="session")
def store(raw, once):
    "A store of the raw folder, to be read only."
    return Store(once("store", lambda folder: write_store(folder, read_folder(raw), where=str(raw))))


def make_run(out, store, config):
    "A run trained to its end."
    run = start_run(out, store, config)
    assert train(run, store, heartbeat=lambda m, p: beat(run, store, m, p))
    return run


@pytest.fixture(scope="session")
def master(store, short_config, once):
    "The folder of a run on the store that every process copies."
    return once("run", lambda folder: make_run(folder, store, short_config))


@pytest.fixture(scope="session")
def trained(master, tmp_path_factory):
    "A run on the store."
    return RunFolder(shutil.copytree(master, tmp_path_factory.mktemp("trained") / "run"))


@pytest.fixture(scope="session")
def judged(master, raw, once, tmp_path_factory):
    "The same run after an evaluation with every row."

    def judge(folder):
        shutil.copytree(master, folder)
        evaluate(open_scorer(folder), read_folder(raw), where=raw)

    return RunFolder(shutil.copytree(once("judged", judge), tmp_path_factory.mktemp("judged") / "run"))


@pytest.fixture(scope="session")
def evaluated(judged):
    "What that evaluation measured."
    return Evaluation.read(judged.path / "evaluation.json")


@pytest.fixture
def recording():
    "A healthy recording of two channels, 1 kHz, 3 s."
    generator = np.random.default_rng(0)
    signal = generator.normal(size=(2, 3000)).astype(np.float32)
    return Recording("0_a.csv", signal, 1000.0, ("CH1", "CH2"), ("A", "A"), 0)
