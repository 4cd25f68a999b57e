"The operator interface: an MCP server over a run that trains, or that has ended; and the screen for a person."

import base64
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import anyio
import numpy as np
import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters
from mcp.types import Implementation
from rich.console import Console
from sklearn.metrics import confusion_matrix, fbeta_score, precision_score, recall_score

from timemoe_lab.agent.heartbeat import heartbeat
from timemoe_lab.agent.server import make_server
from timemoe_lab.agent.state import state_of
from timemoe_lab.agent.watch import screen, watch
from timemoe_lab.config import SPACE, Rule, base, tiny
from timemoe_lab.data.ingest import write_store
from timemoe_lab.data.motor import campaign, write_campaign
from timemoe_lab.data.readers import read_folder
from timemoe_lab.files import InputError, UsageError, write_json
from timemoe_lab.run.folder import RunFolder, start_run, step_of
from timemoe_lab.train.loop import detach_training, train

operate_room = import_module("timemoe_lab.agent.operate")
server_room = import_module("timemoe_lab.agent.server")
folder_room = import_module("timemoe_lab.run.folder")

ROOT = Path(__file__).parents[1]
LAB = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background job
LAB += "from timemoe_lab.cli import main; sys.exit(main())"
ENV = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
TOOLS = {"status", "table", "routing_summary", "evaluate_validation", "propose_change", "pause", "resume"}
TOOLS |= {"checkpoint", "stop", "start_trial"}
ACTING = ("pause", "resume", "checkpoint", "stop")
SECRET = "POISON"  # in every file that a tool must not open


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    "Six healthy recordings and four of a fault, two of them in each of validation and test."
    folder = tmp_path_factory.mktemp("operate")
    jobs = campaign(classes=(0, 6), freqs=(60,), loads=(100,), reps=4, healthy_reps=6, switched_s=(0.15, 0.4))
    write_campaign(folder / "raw", jobs, seconds=0.6, seed=5)
    return write_store(folder / "store", read_folder(folder / "raw"), where=str(folder / "raw"))


@pytest.fixture(scope="module")
def small_config():
    "A model that makes a hundred steps in a second, with a beat every 20."
    config = tiny()
    model = replace(config.model, d_model=16, d_ff=32, d_expert=16, n_heads=2, n_kv_heads=2, max_positions=64)
    recipe = replace(config.train, steps=40, batch=8, warmup=10, aux_warmup=20, log_every=5)
    data = replace(config.data, context=64, stride=64)
    return replace(config, model=model, train=recipe, data=data, agent=replace(config.agent, every_steps=20))


@pytest.fixture(scope="module")
def ended_run(small_store, small_config, tmp_path_factory):
    "A run that was trained to its end."
    run = start_run(tmp_path_factory.mktemp("ended") / "run", small_store, small_config)
    assert train(run, small_store, heartbeat=heartbeat(run, small_store))
    return run


@pytest.fixture
def ended(ended_run, tmp_path):
    "A copy of it."
    return RunFolder(shutil.copytree(ended_run.path, tmp_path / "run"))


def bare(folder, like, config=None, events=()):
    "A run folder that nobody has trained."
    write_json(folder / "config.json", like.facts | {"config": (config or like.config).to_dict()})
    run = RunFolder(folder)
    for event in events:
        run.log(**event)
    return run


class Talk:
    "Calls of one client, each remembered."

    def __init__(self, client):
        self.client, self.calls = client, []

    async def __call__(self, tool, /, **arguments):
        "The structured result of a tool."
        self.calls.append(tool)
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content[0].text
        return result.structured_content

    async def refused(self, tool, /, **arguments):
        "Why a tool refuses: one line."
        self.calls.append(tool)
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error and len(result.content) == 1
        text = result.content[0].text
        assert text and "\n" not in text and "Traceback" not in text
        return text

    async def read(self, name):
        self.calls.append("read")
        (found,) = (await self.client.read_resource(f"timemoe://run/{name}")).contents
        return found

    async def prompt(self, name):
        self.calls.append("prompt")
        return (await self.client.get_prompt(name)).messages[0].content.text


def talk(run, conversation, *, name="tester", version="1.2", mode="auto", server=None):
    "What a conversation with the server of a run returns."

    async def main():
        who = Implementation(name=name, version=version)
        async with Client(server or make_server(run), client_info=who, mode=mode, read_timeout_seconds=60) as client:
            return await conversation(Talk(client))

    try:
        return anyio.run(main)
    except BaseExceptionGroup as group:  # of the tasks that carry the connection
        while isinstance(group, BaseExceptionGroup):
            group = group.exceptions[0]
        raise group from None


def wait(until, seconds=90):
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def calls_of(run):
    return [e for e in run.events("decision") if e.values["rule"].startswith("operator: ")]


# A whole session over a process that trains


@pytest.fixture
def living(small_store, small_config, tmp_path):
    "A run that another process trains, without an end."
    never = Rule("never", "loss", "above", 1e9, action="stop")  # the rules of the agent would meddle
    agent = replace(small_config.agent, policy=(never,))
    long = replace(small_config, train=replace(small_config.train, steps=100_000), agent=agent)
    run = start_run(tmp_path / "run", small_store, long)
    detach_training(run, small_store.path)
    yield run
    if run.is_live():
        run.ask("stop", author="test")
        wait(lambda: not run.is_live())


def test_a_session_over_a_living_training_and_after_its_end(living, small_store):
    run = living

    async def conversation(say):
        now = await say("status")
        assert now["live"] and now["state"] == "training" and now["device"] in ("cpu", "unknown")
        for language, word in (("en", "# Duties"), ("ko", "# 임무")):
            assert word in await say.prompt(f"operator_{language}")
        listed = {str(r.uri).rpartition("/")[2] for r in (await say.client.list_resources()).resources}
        assert {"config", "table", "events", "figures"} <= listed
        await watch_a_proposal(run, say)
        await see_refusals(say)
        await pause_and_go_on(run, say)
        await stop_with_a_checkpoint(run, say)
        await see_that_nothing_trains(say)
        await try_other_knobs(run, say)
        return say.calls

    server = StdioServerParameters(command=sys.executable, args=["-c", LAB, "operator", str(run.path)], env=ENV)
    calls = talk(run, conversation, server=server)
    logged = calls_of(run)
    assert [e.values["rule"] for e in logged] == [f"operator: {name}" for name in calls]
    assert {e.values["author"] for e in logged} == {"operator: tester 1.2"}
    assert all(e.values["outcome"] for e in logged)


async def watch_a_proposal(run, say):
    asked = await say("propose_change", values={"delta": 0.37, "lr": 0.002}, why="the loss has heavy tails")
    assert asked["values"] == {"delta": 0.37, "lr": 0.002} and "next beat" in asked["outcome"]
    mine = lambda: [e for e in run.events("decision") if e.values.get("request") == asked["request"]]
    applied = await anyio.to_thread.run_sync(wait, lambda: len(mine()) == 2 and mine())
    assert {e.values["knob"]: (e.values["new"], e.values["outcome"], e.values["author"]) for e in applied} == {
        "delta": (0.37, "applied", "operator: tester 1.2"),
        "lr": (0.002, "applied", "operator: tester 1.2"),
    }
    assert applied[0].step in [e.step for e in run.events("beat")]
    after = applied[0].step + 1
    await anyio.to_thread.run_sync(wait, lambda: [e for e in run.events("beat") if e.step > after])
    last = next(e for e in run.events("step") if e.step > after)
    assert last.values["delta"] == 0.37 and last.values["lr"] <= 0.002
    table = await say("table", columns=["delta", "lr"])
    assert table["rows"][-1]["delta"] == 0.37 and "0.37" in table["text"] and "Huber delta" in table["text"]
    assert (await say("status"))["knobs"]["delta"] == 0.37


async def see_refusals(say):
    assert re.search(r"delta=99.*0\.01 to 10", await say.refused("propose_change", values={"delta": 99}, why="more"))
    assert "start_trial" in await say.refused("propose_change", values={"top_k": 3}, why="more experts")
    assert "no such knob" in await say.refused("propose_change", values={"seed": 3}, why="luck")
    assert not (await say("status"))["pending"]


async def pause_and_go_on(run, say):
    assert (await say("pause"))["outcome"] == "applied"
    now = await say("status")
    await anyio.sleep(0.7)
    assert now["paused"] and now["live"] and (await say("status"))["step"] == now["step"]
    assert (await say("resume"))["outcome"] == "applied"
    await anyio.to_thread.run_sync(wait, lambda: run.events("step")[-1].step > now["step"])
    assert not (await say("status"))["paused"]


async def stop_with_a_checkpoint(run, say):
    done = await say("checkpoint")
    (answer,) = [e for e in run.events("decision") if e.values.get("request") == done["request"]]
    assert done["outcome"] == "applied" and answer.step in [step_of(p) for p in run.checkpoints()]
    assert (await say("stop"))["outcome"] == "applied"
    await anyio.to_thread.run_sync(wait, lambda: not run.is_live())


async def see_that_nothing_trains(say):
    now = await say("status")
    assert not now["live"] and now["state"] == "stopped" and now["left_s"] is None
    for name in ACTING:
        assert "nothing trains" in await say.refused(name)
    assert "nothing trains" in await say.refused("propose_change", values={"delta": 0.5}, why="late")
    assert (await say("table"))["rows"] and (await say("evaluate_validation"))["metrics"]["n"] > 1000


async def try_other_knobs(run, say):
    trial = await say("start_trial", name="one-expert", values={"top_k": 1}, why="is one enough?", steps=10_000)
    assert trial["knobs"] == {"top_k": 1} and trial["steps"] == 10_000
    assert "one-expert" in await say.refused("start_trial", name="another", values={"top_k": 4}, why="or four?")
    made = RunFolder(run.path / "trials" / "one-expert")
    assert made.config.model.top_k == 1 and made.config.data == run.config.data
    await anyio.to_thread.run_sync(wait, lambda: made.events("beat"))
    (seen,) = (await say("status"))["trials"]
    assert seen["state"] == "training" and seen["beat"]["threshold"] > 0
    assert (await say("stop", trial="one-expert"))["outcome"] == "applied"
    await anyio.to_thread.run_sync(wait, lambda: not made.is_live())
    (seen,) = (await say("status"))["trials"]
    assert seen["state"] == "stopped"
    assert "another name" in await say.refused("start_trial", name="one-expert", values={"top_k": 4}, why="again")


def test_only_the_protocol_stands_on_stdout(ended):
    "By hand, as an older client does: the handshake, a call, and a line that is no JSON."
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "old", "version": "0"}}
    lines = [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": info}]
    lines += [{"jsonrpc": "2.0", "method": "notifications/initialized"}]
    lines += [{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "status", "arguments": {}}}]
    text = "".join(f"{json.dumps(line)}\n" for line in lines[:2]) + "no json\n" + f"{json.dumps(lines[2])}\n"
    command = [sys.executable, "-c", LAB, "operator", str(ended.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | ENV, text=True, **pipes) as server:
        server.stdin.write(text)
        server.stdin.flush()
        answers = []
        while not any(a.get("id") == 2 for a in answers):
            answers.append(json.loads(server.stdout.readline()))
        server.send_signal(signal.SIGINT)  # stdin stays open: as Ctrl-C in a terminal
        assert server.wait(30) == 0
        rest, said = server.stdout.read(), server.stderr.read()
    assert rest == "" and said == "closed; what trains goes on\n"
    (status,) = [a["result"]["structuredContent"] for a in answers if a.get("id") == 2]
    assert status["state"] == "finished" and calls_of(ended)[-1].values["author"] == "operator: old 0"


# What a client is offered


def test_tools_say_what_they_take_and_give(ended):
    async def conversation(say):
        return (await say.client.list_tools()).tools, (await say.client.list_prompts()).prompts

    tools, prompts = talk(ended, conversation)
    assert {tool.name for tool in tools} == TOOLS
    assert {p.name for p in prompts} == {"operator_en", "operator_ko"} and not any(p.arguments for p in prompts)
    for tool in tools:
        assert len(tool.description) > 30 and tool.output_schema["properties"]
        for name, about in tool.input_schema["properties"].items():
            assert about["description"], (tool.name, name)
        assert tool.annotations.read_only_hint == (
            tool.name in list(TOOLS - set(ACTING)) and "change" not in tool.name and tool.name != "start_trial"
        )
    values = next(t for t in tools if t.name == "propose_change").input_schema["properties"]["values"]["description"]
    assert all(f"{name} {knob.low:g} to {knob.high:g}" in values for name, knob in SPACE.items())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_every_kind_of_call_is_on_record_with_its_author(ended, mode):
    async def conversation(say):
        await say("status")
        await say.read("table")
        await say.prompt("operator_ko")
        await say.refused("evaluate_validation", beta="much")
        await say.refused("no_such_tool", x=1)
        await say.refused("start_trial", name="a", values={}, why="x" * 2000)

    talk(ended, conversation, name="some\nclient", version="9", mode=mode)
    logged = calls_of(ended)
    assert [(e.values["rule"], e.values["outcome"].split(":")[0]) for e in logged] == [
        ("operator: status", "answered"),
        ("operator: read", "answered"),
        ("operator: prompt", "answered"),
        ("operator: evaluate_validation", "refused"),
        ("operator: no_such_tool", "refused"),
        ("operator: start_trial", "refused"),
    ]
    assert {e.values["author"] for e in logged} == {"operator: some client 9"}
    assert logged[1].values["new"] == {"uri": "timemoe://run/table"} and logged[3].values["new"] == {"beta": "much"}
    assert logged[0].values["old"] is None and logged[0].step == 40
    assert len(logged[5].values["new"]["why"]) == 500


def test_prompts_are_filled_in_with_the_run(ended):
    async def conversation(say):
        return [await say.prompt(f"operator_{language}") for language in ("en", "ko")]

    ended.log("decision", 40, rule="x", knob="delta", old=1.0, new=0.123, author="agent")
    english, korean = talk(ended, conversation)
    for text in (english, korean):
        for fact in ("cpu", "tiny", "40 / 40", "1, 8, 32, 64", "0.950", "delta *=" if text is english else "delta ×"):
            assert fact in text, fact
        assert "0.123" in text and "None" not in text and "{" not in text
        assert all(f"- {name} = " in text for name in SPACE)
    assert not [knob.what for knob in SPACE.values() if knob.what in korean]
    hangul = re.findall(r"[가-힣]", korean)
    assert len(hangul) > 600 and not re.findall(r"[가-힣]", english)


# Measured on validation recordings


def validation_points(checkpoint, margin):
    "Scores and labels of the validation samples, read without the lab: without those next to an edge of a fault."
    scores, labels = [], []
    with np.load(checkpoint / "beat.npz") as arrays:
        for i in np.flatnonzero(arrays["split"] == "validation"):
            label = arrays[f"label_{i}"]
            edges = [t for t in range(1, len(label)) if label[t] != label[t - 1]]
            keep = np.array([all(not e - margin <= t < e + margin for e in edges) for t in range(len(label))])
            keep &= np.isfinite(arrays[f"score_{i}"])
            scores.append(arrays[f"score_{i}"][keep])
            labels.append(label[keep])
    return np.concatenate(scores), np.concatenate(labels)


@pytest.mark.parametrize("given", [{}, {"threshold": 0.5, "beta": 2.0}, {"checkpoint": "20"}])
def test_evaluation_is_what_scikit_learn_makes_of_the_scores(ended, given):
    async def conversation(say):
        return await say("evaluate_validation", **given)

    found = talk(ended, conversation)
    checkpoint = ended.path / "checkpoints" / found["checkpoint"]
    margin = round(ended.config.score.edge_s * 10_000)
    score, label = validation_points(checkpoint, margin)
    assert label.any() and not label.all()
    threshold = given.get("threshold", json.loads((checkpoint / "state.json").read_text())["beat"]["threshold"])
    alarm, beta = score >= threshold, given.get("beta", 0.5)
    metrics = found["metrics"]
    assert found["threshold"] == threshold and found["beta"] == beta and found["split"] == "validation"
    assert [metrics[k] for k in ("tn", "fp", "fn", "tp")] == confusion_matrix(label, alarm).ravel().tolist()
    assert metrics["f1"] == pytest.approx(fbeta_score(label, alarm, beta=1))
    assert metrics[f"f{beta:g}"] == pytest.approx(fbeta_score(label, alarm, beta=beta))
    assert metrics["recall"] == pytest.approx(recall_score(label, alarm))
    assert metrics["precision"] == (pytest.approx(precision_score(label, alarm)) if alarm.any() else None)
    assert metrics["fpr"] == pytest.approx(alarm[~label].mean())
    best = max(fbeta_score(label, score >= t, beta=beta) for t in np.quantile(score, np.linspace(0, 1, 200)))
    assert found["best"][f"f{beta:g}"] >= best - 1e-9
    cost = lambda t: 2 * (score >= t)[~label].sum() + (~(score >= t))[label].sum()
    assert cost(found["cheapest"]["threshold"]) <= min(cost(t) for t in np.quantile(score, np.linspace(0, 1, 200)))


@pytest.mark.parametrize(
    "values, complaint",
    [
        ({"delta": 0.5}, "nothing trains"),
        ({"top_k": 1}, "start_trial"),
        ({"delta": 99}, "0.01 to 10"),
        ({"delta": float("nan")}, "delta"),
        ({"delta": "much"}, "values.delta"),
        ({}, "empty"),
    ],
)
def test_a_proposal_that_can_not_be_met_is_refused_with_the_reason(ended, values, complaint):
    async def conversation(say):
        return await say.refused("propose_change", values=values, why="to see")

    assert complaint in talk(ended, conversation)
    assert not ended.requests() and "refused" in calls_of(ended)[-1].values["outcome"]


def test_without_a_labelled_fault_there_is_no_f1_but_signals(ended):
    checkpoint = ended.checkpoint("best")
    with np.load(checkpoint / "beat.npz") as arrays:
        kept = {k: np.zeros_like(v) if k.startswith("label") else v for k, v in arrays.items()}
    np.savez(checkpoint / "beat.npz", **kept)

    async def conversation(say):
        return await say("evaluate_validation")

    found = talk(ended, conversation)
    assert found["metrics"] is None and found["best"] is None and "no faulty sample" in found["note"]
    assert found["without_labels"]["held_out"] > 0


def test_routing_is_the_mean_of_the_logged_steps(ended):
    async def conversation(say):
        return await say("routing_summary", last=4)

    found = talk(ended, conversation)
    steps = [e for e in ended.events("step") if "expert_load" in e.values][-4:]
    load = np.mean([e.values["expert_load"] for e in steps], axis=0)
    assert found["steps"] == [e.step for e in steps] and found["even"] == 1 / 8
    np.testing.assert_allclose([layer["load"] for layer in found["layers"]], load, atol=1e-4)
    np.testing.assert_allclose(
        [layer["balance"] for layer in found["layers"]], load.std(axis=1) / load.mean(axis=1), atol=1e-4
    )
    halves = [np.mean([e.values["expert_load"] for e in part], axis=0) for part in (steps[:2], steps[2:])]
    trend = [h.std(axis=1) / h.mean(axis=1) for h in halves]
    np.testing.assert_allclose([layer["trend"] for layer in found["layers"]], trend[1] - trend[0], atol=1e-4)


def test_a_dead_expert_is_named(ended, tmp_path):
    load = [[0.0, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]]
    step = {"event": "step", "step": 5, "loss": 0.1, "expert_load": load, "gate_mean": load}
    run = bare(tmp_path / "dead", ended, events=[step])

    async def conversation(say):
        return await say("routing_summary")

    found = talk(run, conversation)
    assert found["layers"][0]["dead"] == [0] and "layer 0 expert 0" in found["note"]


# What stays closed

OPENED, LISTENING = [], []


def listen_to_opens():
    "Records every file that this process opens or lists from now on; such a hook stays for good."

    def hook(event, arguments):
        if LISTENING and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "os.exec"):
            OPENED.append((event, str(arguments[0])))

    sys.addaudithook(hook)


async def everything(say):
    "All that a client can ask for without starting anything, as one text."
    texts = []
    for name, arguments in (
        ("status", {}),
        ("table", {"columns": ["all"]}),
        ("routing_summary", {}),
        ("evaluate_validation", {}),
    ):
        texts.append(json.dumps(await say(name, **arguments)))
    for name in ("config", "table", "events", "figures"):
        texts.append((await say.read(name)).text)
    for language in ("en", "ko"):
        texts.append(await say.prompt(f"operator_{language}"))
    for name in ACTING:
        texts.append(await say.refused(name))
    texts.append(str((await say.client.list_resources()).resources))
    return "\n".join(texts)


def test_no_tool_opens_a_file_outside_the_run_or_of_the_test_split(ended, small_store):
    for name in ("scores/0_x.npz", "scores/recordings.csv", "evaluation.json", "report.html"):
        (ended.path / name).parent.mkdir(exist_ok=True)
        (ended.path / name).write_text(SECRET)
    talk(ended, everything)  # imports what is imported late
    listen_to_opens()
    LISTENING.append(True)
    try:
        text = talk(ended, everything)
    finally:
        LISTENING.clear()
    seen = [(event, os.path.abspath(path)) for event, path in OPENED if not path.isdigit()]
    inside = [path for _, path in seen if path.startswith(f"{ended.path}{os.sep}")]
    ours = (sys.prefix, sys.base_prefix, str(ROOT / "timemoe_lab"), "/proc", "/dev", str(ended.path))
    assert len(inside) > 20
    assert [path for _, path in seen if not path.startswith(ours)] == []
    assert not [event for event, _ in seen if event in ("subprocess.Popen", "os.exec")]
    assert not [p for p in inside if re.search(r"/(scores|evaluation\.json|report\.html)", p)]
    hidden = [r["name"] for r in ended.facts["recordings"] if r["split"] == "test"]
    shown = [r["name"] for r in ended.facts["recordings"] if r["split"] == "validation"]
    assert hidden and SECRET not in text
    assert not [name for name in hidden if name in text] and all(name in text for name in shown)
    assert f'"test_recordings_not_shown": {len(hidden)}' in text


@pytest.mark.parametrize("name", ["../../config.json", "..", "a/b", "/etc/passwd", "best/../last", "step-000020", "-1"])
def test_a_checkpoint_by_a_path_is_refused(ended, name):
    async def conversation(say):
        return await say.refused("evaluate_validation", checkpoint=name)

    assert "expected best, last or one of" in talk(ended, conversation)


def test_a_linked_checkpoint_is_refused(ended, tmp_path):
    path = ended.checkpoint("best")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    async def conversation(say):
        return await say.refused("evaluate_validation")

    assert "links aren't followed" in talk(ended, conversation)


PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def test_figures_are_listed_and_read_and_links_are_not(ended, tmp_path):
    folder = ended.path / "figures"
    folder.mkdir()
    (folder / "step-000020-scores.png").write_bytes(PNG)
    (folder / "notes.txt").write_text(SECRET)
    (tmp_path / "secret.png").write_text(SECRET)
    (ended.path / "evaluation.json").write_text(SECRET)
    (folder / "outside.png").symlink_to(tmp_path / "secret.png")
    (folder / "inside.png").symlink_to(ended.path / "evaluation.json")

    async def conversation(say):
        listed = [str(r.uri) for r in (await say.client.list_resources()).resources if r.mime_type == "image/png"]
        names = json.loads((await say.read("figures")).text)
        picture = await say.read("figures/step-000020-scores.png")
        refused = []
        bad = (
            "outside.png",
            "inside.png",
            "notes.txt",
            "..%2Fconfig.json",
            "../config.json",
            "%2Fetc%2Fpasswd",
            "x.png",
        )
        for name in bad:
            with pytest.raises(MCPError) as error:
                await say.read(f"figures/{name}")
            refused.append(str(error.value))
        return listed, names, picture, refused

    listed, names, picture, refused = talk(ended, conversation)
    assert listed == names == ["timemoe://run/figures/step-000020-scores.png"]
    assert base64.b64decode(picture.blob) == PNG and picture.mime_type == "image/png"
    assert all(SECRET not in line and "\n" not in line and line for line in refused)
    assert len([e for e in calls_of(ended) if e.values["outcome"].startswith("refused")]) == 7


def test_a_figures_folder_that_is_a_link_is_empty(ended, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(PNG)
    (ended.path / "figures").symlink_to(tmp_path / "other")

    async def conversation(say):
        return (await say.read("figures")).text

    assert talk(ended, conversation) == "[]"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "x" * 41, "a b", "-rf", "a\nb", "/tmp/x", "ä"])
def test_a_trial_can_not_leave_its_folder(ended, name):
    async def conversation(say):
        return await say.refused("start_trial", name=name, values={"top_k": 1}, why="look")

    before = sorted(ended.path.rglob("*"))
    assert "name=" in talk(ended, conversation)
    assert before == sorted(ended.path.rglob("*"))


def test_trials_in_a_linked_folder_are_refused(ended, tmp_path):
    (tmp_path / "other").mkdir()
    (ended.path / "trials").symlink_to(tmp_path / "other")

    async def conversation(say):
        return await say.refused("start_trial", name="a", values={"top_k": 1}, why="look")

    assert "links aren't followed" in talk(ended, conversation) and not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize(
    "values, steps, complaint",
    [
        ({"top_k": 1}, 41, "1 to 40"),
        ({"top_k": 1}, 0, "steps"),
        ({"top_k": 9}, 10, "top_k=9"),
        ({"context": 4096}, 10, "max_positions"),
        ({"seed": 1}, 10, "no such knob"),
        ({}, 10, "empty"),
    ],
)
def test_a_trial_out_of_bounds_is_refused(ended, values, steps, complaint):
    async def conversation(say):
        return await say.refused("start_trial", name="a", values=values, why="look", steps=steps)

    assert complaint in talk(ended, conversation)
    assert not (ended.path / "trials" / "a").exists()


# A disk that takes no more


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_call_that_can_not_be_logged_is_refused_and_does_nothing(ended, monkeypatch, number):
    def broken(log):
        raise OSError(number, os.strerror(number), str(log.path / "events.jsonl"))

    async def conversation(say):
        with monkeypatch.context() as patch:
            patch.setattr(folder_room.RunLog, "flush", broken)
            patch.setattr(folder_room.RunLog, "is_live", lambda log: True)
            refused = [await say.refused(name) for name in ("status", "pause", "stop")]
            with pytest.raises(MCPError, match=os.strerror(number)):
                await say.read("config")
        return refused

    assert all(os.strerror(number) in line for line in talk(ended, conversation))
    assert not ended.requests() and not calls_of(ended)


def test_a_call_whose_line_finds_the_disk_full_is_refused_and_its_line_comes_later(ended, monkeypatch):
    real = folder_room.RunLog.flush

    def full(log):
        if log._waiting:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(log.path / "events.jsonl"))
        real(log)

    async def conversation(say):
        with monkeypatch.context() as patch:
            patch.setattr(folder_room.RunLog, "flush", full)
            assert "No space left" in await say.refused("status")
        return await say("table")

    talk(ended, conversation)
    assert [e.values["rule"] for e in calls_of(ended)] == ["operator: status", "operator: table"]


def test_a_request_that_finds_the_disk_full_is_refused_and_logged(ended, monkeypatch):
    def full(path, values):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(folder_room, "write_json", full)
    monkeypatch.setattr(folder_room.RunLog, "is_live", lambda log: True)

    async def conversation(say):
        return await say.refused("propose_change", values={"delta": 0.5}, why="tails")

    assert "No space left" in talk(ended, conversation)
    assert calls_of(ended)[-1].values["outcome"].startswith("refused: ")


@pytest.mark.parametrize("error, told", [(KeyError("a\nb"), "KeyError"), (InputError("a\nb"), "a b")])
def test_an_error_of_several_lines_and_an_unforeseen_one_are_a_line_too(ended, monkeypatch, error, told):
    def broken(run, n):
        raise error

    monkeypatch.setattr(server_room, "routing_of", broken)

    async def conversation(say):
        return await say.refused("routing_summary")

    line = talk(ended, conversation)
    assert told in line and calls_of(ended)[-1].values["outcome"].startswith("refused: ")


def test_a_request_without_an_answer_is_pending_and_comes_back_in_time(ended, monkeypatch):
    monkeypatch.setattr(folder_room.RunLog, "is_live", lambda log: True)
    monkeypatch.setattr(operate_room, "PATIENCE_S", 0.1)

    async def conversation(say):
        return await say("pause"), await say("status")

    answer, status = talk(ended, conversation)
    assert answer["outcome"].startswith("asked") and [r["action"] for r in status["pending"]] == ["pause"]
    assert status["pending"][0]["author"] == "operator: tester 1.2"


def test_the_answer_of_a_training_that_refuses_is_passed_on(ended, monkeypatch):
    monkeypatch.setattr(folder_room.RunLog, "is_live", lambda log: True)
    real = folder_room.RunLog.ask

    def answered(log, action, **how):
        request = real(log, action, **how)
        facts = {"rule": f"asked for: {action}", "old": None, "new": None, "author": how["author"]}
        log.log("decision", 40, **facts, request=request["id"], outcome="refused: the training has ended")
        log.close(request)
        return request

    monkeypatch.setattr(folder_room.RunLog, "ask", answered)

    async def conversation(say):
        return await say.refused("checkpoint")

    assert talk(ended, conversation) == "refused: the training has ended"


# A missing package


@pytest.mark.parametrize(
    "name, use", [("mcp.types", lambda run: make_server(run)), ("rich.live", lambda r: watch(r.path))]
)
def test_a_missing_package_is_named_with_its_extra(ended, monkeypatch, name, use):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"pip install 'timemoe-lab\[operator\]'"):
        use(ended)


def test_another_language_is_refused(ended):
    with pytest.raises(UsageError, match="--lang fr: expected one of en, ko"):
        make_server(ended, language="fr")


# The screen


def rendered(run, width=80, height=24):
    "The screen as a terminal of that size shows it."
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    console.print(screen(run, width=width, height=height))
    return console.file.getvalue().splitlines()


def test_a_finished_run_on_a_small_screen(ended):
    lines = rendered(ended)
    text = "\n".join(lines)
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    for word in ("finished", "40/40", "Loss", "layer 0", "layer 1", "Threshold", "nothing trains", "delta"):
        assert word in text, word


def test_a_run_without_a_step_has_a_screen(ended, tmp_path):
    run = bare(tmp_path / "bare", ended)
    text = "\n".join(rendered(run))
    assert "not started" in text and "no step" in text and "0/40" in text


def test_a_large_run_with_much_to_tell_still_fits(ended, tmp_path):
    rng, load = np.random.default_rng(0), None
    events = []
    for step in range(20, 2000, 20):
        load = rng.dirichlet(np.ones(8), size=12).tolist()
        facts = {"loss": 1 / step, "expert_load": load, "gate_mean": load, "gating_balance": 1.0, "entropy": 0.9}
        events.append({"event": "step", "step": step} | facts)
        events.append({"event": "warning", "step": step, "what": "warning: " + "word " * 40})
        events.append({"event": "decision", "step": step, "rule": "r " * 60, "old": 1, "new": 2, "author": "agent"})
        events.append({"event": "beat", "step": step, "loss": 1 / step, "f1": 0.9, "threshold": 3.0})
    run = bare(tmp_path / "large", ended, config=base(), events=events)
    for width, height in ((80, 24), (100, 30), (60, 20)):
        lines = rendered(run, width, height)
        assert len(lines) <= height and max(map(len, lines)) <= width
        assert "\n1980 |" in "\n".join(lines)
        assert ("least even" in "\n".join(lines)) == (height < 30)  # the others show all twelve layers


def test_watch_without_a_terminal_prints_one_plain_screen(ended, capsys):
    watch(ended.path)
    out = capsys.readouterr().out
    assert "finished" in out and "\x1b" not in out and not calls_of(ended)


def test_watch_of_no_run_and_a_wrong_pause_are_refused(ended, tmp_path):
    with pytest.raises(UsageError, match="not a run"):
        watch(tmp_path)
    with pytest.raises(UsageError, match="--every 0"):
        watch(ended.path, every_s=0)


@pytest.mark.slow
def test_watch_in_a_terminal_is_safe_to_close(living):
    import pty

    wait(lambda: living.events("beat"))
    terminal, inner = pty.openpty()
    sized = os.environ | ENV | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    command = [sys.executable, "-c", LAB, "watch", str(living.path), "--every", "0.2"]
    process = subprocess.Popen(command, stdin=inner, stdout=inner, env=sized)
    os.close(inner)
    said = b""
    while b"Ctrl-C closes" not in said:
        said += os.read(terminal, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:
        pass  # the other end is closed
    assert process.wait() == 0 and b"training goes on" in said and b"Traceback" not in said
    step = living.events("step")[-1].step
    wait(lambda: living.events("step")[-1].step > step)
    assert state_of(living).live
