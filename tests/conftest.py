"What several test files share: small simulated folders and one trained run."

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from timemoe_lab.agent.heartbeat import beat
from timemoe_lab.config import tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, write_campaign
from timemoe_lab.data.readers import read_folder
from timemoe_lab.data.recording import Recording
from timemoe_lab.run.folder import start_run
from timemoe_lab.train.loop import train

CLOCK = {"time", "tokens_per_s", "waiting", "memory_mb", "trained_s"}  # what a repeated run need not repeat


def clockless(run):
    "The events of a run, without what the clock and the machine say."
    return [{k: v for k, v in e.to_json().items() if k not in CLOCK} for e in run.events()]


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    "A raw folder: eight healthy recordings, four of LI2 and four of LI3 with the short switched in for a while."
    folder = tmp_path_factory.mktemp("raw")
    jobs = campaign(classes=(0, 5, 6), freqs=(60,), loads=(100,), reps=4, healthy_reps=8, switched_s=(0.5, 1.4))
    write_campaign(folder, jobs, seconds=2.0, seed=3)
    return folder


@pytest.fixture(scope="session")
def short_config():
    "The tiny preset with sixty steps and two beats."
    config = tiny()
    recipe = replace(config.train, steps=60, warmup=10, aux_warmup=20, checkpoint_every=20)
    return replace(config, train=recipe, agent=replace(config.agent, every_steps=30))


@pytest.fixture(scope="session")
def store(raw, tmp_path_factory):
    "A store of the raw folder."
    return write_store(tmp_path_factory.mktemp("store") / "store", read_folder(raw), where=str(raw))


def make_run(out, store, config):
    "A run trained to its end."
    run = start_run(out, store, config)
    assert train(run, store, heartbeat=lambda m, p: beat(run, store, m, p))
    return run


@pytest.fixture(scope="session")
def trained(store, short_config, tmp_path_factory):
    "A run on the store."
    return make_run(tmp_path_factory.mktemp("run") / "run", store, short_config)


@pytest.fixture
def recording():
    "A healthy recording of two channels, 1 kHz, 3 s."
    generator = np.random.default_rng(0)
    signal = generator.normal(size=(2, 3000)).astype(np.float32)
    return Recording("0_a.csv", signal, 1000.0, ("CH1", "CH2"), ("A", "A"), 0)
