"A motor as it runs: what a stream tells against what `score` tells, kills, brokers that go away, receivers that fail."

import csv
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from timemoe_lab.cli import main
from timemoe_lab.data.readers import read, read_folder
from timemoe_lab.detect.scorer import open_scorer, score_recordings
from timemoe_lab.files import InputError
from timemoe_lab.plant.monitor import Exporter, Monitor, WatchedRun, cut_of, digest_of_run, watch
from timemoe_lab.plant.sources import ALARMS, Cut, LinesSink, MqttSink, TextBlocks, Webhook, open_source

FAULTY = "6_0012c60c100.csv"


class Told:
    "A sink that keeps what it is told."

    def __init__(self, wants=(*ALARMS, "score", "note"), name="told"):
        self.name, self.wants, self.events = name, wants, []

    def deliver(self, events):
        self.events += events
        return len(events)

    def close(self):
        pass

    def of(self, *kinds):
        return [e for e in self.events if e["event"] in kinds]


@pytest.fixture(scope="module")
def scorer(trained):
    return open_scorer(trained.path)


@pytest.fixture(scope="module")
def few(raw, tmp_path_factory):
    "A healthy and two faulty recordings of the raw folder."
    folder = tmp_path_factory.mktemp("few")
    names = sorted(p.name for p in raw.glob("*.csv"))
    for name in (names[0], *[n for n in names if n[0] in "56"][-2:]):
        shutil.copy(raw / name, folder)
    return folder


@pytest.fixture(scope="module")
def batch(scorer, few, tmp_path_factory):
    "What `score` says of them."
    out = tmp_path_factory.mktemp("batch") / "scores"
    score_recordings(scorer, read_folder(few), out, where=few)
    return out


def started(scorer, source, home, sinks, n=None, **how):
    "A monitor of a source."
    cut = replace(cut_of(scorer)[0], **({"n": n} if n else {}), **how)
    make = lambda position: open_source(str(source), cut, home, fits=scorer.conform, position=position)
    said = []
    monitor = Monitor(WatchedRun(scorer, lambda: open_scorer(scorer.run.path)), home, make, sinks, say=said.append)
    monitor.said = said
    return monitor


def run_out(monitor):
    watch(monitor, stop=lambda: False, every_s=0)
    return monitor


def batch_alarms(batch, name):
    with open(batch / "alarms.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["recording"] == name]


def same_alarms(events, rows):
    "Whether alarms that closed are those of alarms.csv."
    closed = [e for e in events if e["event"] == "close"]
    assert len(closed) == len(rows)
    for event, row in zip(closed, rows):
        times = [event[name] for name in ("start_s", "end_s", "raised_s")]
        assert times == pytest.approx([float(row[name]) for name in ("start_s", "end_s", "raised_s")], abs=1e-6)
        assert f"{event['peak']:.6g}" == row["peak"]
        assert [event[name] for name in ("channel", "part", "says")] == [row[n] for n in ("channel", "part", "says")]


def bytes_of(batch, name):
    with np.load(batch / f"{name.removesuffix('.csv')}.npz") as found:
        return hashlib.sha256(found["score"].tobytes()).hexdigest()


# The same as score


def test_a_recording_that_grows_in_odd_pieces_has_the_bytes_and_alarms_of_score(scorer, few, batch, tmp_path):
    path = sorted(few.glob("[56]*.csv"))[-1]
    said = path.read_bytes()
    grows = tmp_path / path.name
    told = Told()
    monitor = started(scorer, grows, tmp_path / "home", [told])
    for at in range(0, len(said), 50_021):  # ends in the middle of numbers
        with open(grows, "ab") as file:
            file.write(said[at : at + 50_021])
        monitor.step()
    monitor.step()
    monitor.finish()
    monitor.close()
    (score,) = told.of("score")
    assert score["sha256"] == bytes_of(batch, path.name) and score["seconds"] == 1.2
    rows = batch_alarms(batch, path.name)
    assert rows, "a faulty recording without an alarm tests nothing"
    same_alarms(told.events, rows)
    expected = hashlib.sha256(f"{digest_of_run(scorer.run.path)}\n{grows}\n".encode())
    first = told.of("open")[0]
    expected.update(str(first["start_sample"]).encode())
    assert first["id"] == expected.hexdigest()[:16]


def test_a_folder_has_the_bytes_of_score_and_the_same_events_again(scorer, few, batch, tmp_path):
    told = [Told(), Told()]
    for i, sink in enumerate(told):
        run_out(started(scorer, few, tmp_path / f"{i}", [sink], once=True))
    assert told[0].events == told[1].events
    names = sorted(p.name for p in few.iterdir())
    assert [(e["recording"], e["sha256"]) for e in told[0].of("score")] == [(n, bytes_of(batch, n)) for n in names]
    for name in names:
        same_alarms([e for e in told[0].events if e["source"].endswith(name)], batch_alarms(batch, name))


def test_a_pipe_and_a_file_tell_the_same(scorer, few, tmp_path, monkeypatch):
    path = sorted(few.glob("[56]*.csv"))[-1]
    files, pipes = Told(), Told()
    run_out(started(scorer, path, tmp_path / "a", [files], n=4000, once=True))
    reads, writes = os.pipe()
    threading.Thread(target=lambda: os.write(writes, b"") or feed(writes, path.read_bytes())).start()
    saved = os.dup(0)
    os.dup2(reads, 0)
    try:
        run_out(started(scorer, "-", tmp_path / "b", [pipes], n=4000))
    finally:
        os.dup2(saved, 0)
        for handle in (saved, reads):
            os.close(handle)
    plain = [
        {k: v for k, v in e.items() if k in ("event", "start_sample", "end_sample", "sha256")} for e in files.events
    ]
    assert plain == [{k: v for k, v in e.items() if k in plain[0] | {"end_sample": 0}} for e in pipes.events]
    assert [e["start_sample"] for e in pipes.of("score")] == [0, 4000, 8000]


def feed(handle, said):
    for at in range(0, len(said), 10_007):
        os.write(handle, said[at : at + 10_007])
    os.close(handle)


# Bad streams


def test_faults_of_a_stream_are_counted_and_told_in_a_line_each(scorer, few, tmp_path):
    path = sorted(few.glob("0*.csv"))[0]
    lines = path.read_bytes().splitlines(keepends=True)
    head, rows = lines[:21], lines[21:]
    rows[100] = b"-0.59,oops,1,2,3\n"
    rows[4100:5200] = [b",".join([r.split(b",")[0], *[b"nan"] * 4]) + b"\n" for r in rows[4100:5200]]  # a burst
    file = tmp_path / "a.csv"
    file.write_bytes(b"".join([*head, *rows[:9500], *rows[:3000]]))  # and a clock that goes back
    told = Told()
    monitor = run_out(started(scorer, file, tmp_path / "home", [told], n=4000, once=True))
    starts = [(e["start_sample"], e["seconds"]) for e in told.of("score")]
    assert starts == [(0, 0.4), (4000, 0.4), (9500, 0.3)]
    assert monitor.metrics()["bad_rows"] == 2 and monitor.metrics()["short"] == 1
    notes = [e["says"] for e in told.of("note")]
    assert any("row 101: CH1 is 'oops'" in n for n in notes) and any("goes back behind row 9500" in n for n in notes)
    assert told.of("score")[1]["unscored"] > 0 and all("\n" not in n for n in notes)


def test_a_stream_of_another_motor_is_refused(scorer, tmp_path):
    for name, head, rate in (("a", "TIME,CH1,CH2,CH3", 1e4), ("b", "TIME,CH1,CH2,CH3,CH4", 2e4)):
        rows = [f"{i / rate:.6f}," + ",".join(["1.5"] * head.count(",")) for i in range(3000)]
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *rows, ""]))
        monitor = started(scorer, tmp_path / f"{name}.csv", tmp_path / name, [], n=2600)
        with pytest.raises(InputError, match="lacks CH4" if name == "a" else "20000 Hz, not 10000 Hz"):
            monitor.step()
        monitor.release()
        assert not (tmp_path / name / "state.json").exists()


def test_a_file_that_is_replaced_begins_anew_and_counts_on(scorer, few, tmp_path):
    whole = sorted(few.glob("0*.csv"))[0].read_bytes()
    path = tmp_path / "a.csv"
    path.write_bytes(whole[: len(whole) // 2])
    told = Told()
    monitor = started(scorer, path, tmp_path / "home", [told], n=3000)
    monitor.step()
    (tmp_path / "b.csv").write_bytes(whole)
    (tmp_path / "b.csv").replace(path)
    for _ in range(8):
        monitor.step()
    monitor.close()
    assert [e["start_sample"] for e in told.of("score")][:2] == [0, 3000 + told.events[1]["start_sample"] - 3000]
    assert any("replaced or cut" in line for line in monitor.said) and len(told.of("score")) >= 5


def test_who_is_behind_drops_whole_blocks_and_says_how_many(scorer, few, tmp_path):
    told = Told()
    path = sorted(few.glob("0*.csv"))[0]
    monitor = run_out(started(scorer, path, tmp_path, [told], n=2600, once=True, behind=1))
    m = monitor.metrics()
    assert m["dropped"] == 2 and [e["start_sample"] for e in told.of("score")] == [0, 7800]


def test_a_run_that_is_replaced_is_said_and_used(scorer, few, tmp_path):
    path = shutil.copytree(scorer.run.path, tmp_path / "run")
    mine = open_scorer(path)
    told = Told()
    monitor = started(mine, sorted(few.glob("[56]*.csv"))[-1], tmp_path / "home", [told], n=4000, once=True)
    monitor.run._reopen = lambda: open_scorer(path)
    monitor.step()
    before = digest_of_run(path)
    os.utime(path / "operating_point.json")  # touched, and the same
    monitor.step()
    assert monitor.run.digest == before and not monitor.said
    point = json.loads((path / "operating_point.json").read_text())
    (path / "operating_point.json").write_text(json.dumps(point | {"seal": "0"}))
    monitor.step()
    assert "can't be opened" in monitor.said[-1] and monitor.run.digest == before
    (path / "operating_point.json").write_text(json.dumps(point))  # other bytes, the same values
    monitor.step()
    assert "is another run than before" in monitor.said[-1] and monitor.run.digest != before
    monitor.release()


# Kills

KILLED = """
import json, os, signal, sys, time
from dataclasses import replace
from pathlib import Path
from timemoe_lab.cli import main
from timemoe_lab.plant import monitor as room, sources

run, source, home, log, stop = sys.argv[1:]
words = ["monitor", run, "--source", source, "--state", home, "--sink", log, "--block", "0.3"]

def around(owner, name, point):
    real = getattr(owner, name)
    def wrapped(*arguments, **keywords):
        point()
        done = real(*arguments, **keywords)
        point()
        return done
    setattr(owner, name, wrapped)

def killed(at):
    n = 0
    def point():
        nonlocal n
        n += 1
        if n == at:
            os.kill(os.getpid(), signal.SIGKILL)
    around(room.State, "save", point)
    around(sources.LinesSink, "deliver", point)
    os._exit(main([*words, "--once"]))

kills = 0
for at in range(2, 60, 3):
    pid = os.fork()
    if pid == 0:
        killed(at)
    if os.waitpid(pid, 0)[1] == 0:
        break
    kills += 1
pid = os.fork()
if pid == 0:
    os._exit(main([*words, "--state", stop]))
until = time.monotonic() + 30
while not Path(stop, "state.json").exists() and time.monotonic() < until:
    time.sleep(0.01)
os.kill(pid, signal.SIGTERM)
print(json.dumps([kills, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]))
"""


def test_kills_neither_lose_nor_repeat_an_alarm_and_sigterm_ends_it_cleanly(scorer, few, tmp_path):
    path = sorted(few.glob("[56]*.csv"))[-1]
    told = Told()
    run_out(started(scorer, path, tmp_path / "calm", [told], n=3000, once=True))
    names = [scorer.run.path, path, tmp_path / "home", tmp_path / "log", tmp_path / "stop"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *names], env=environment, capture_output=True, text=True, timeout=120
    )
    kills, status = json.loads(done.stdout.splitlines()[-1])
    assert kills >= 3 and status == 0, done.stderr
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {e["key"]: e for e in events if e["event"] != "note"} == {
        e["key"]: json.loads(json.dumps(e)) for e in told.of(*ALARMS, "score")
    }
    assert json.loads((tmp_path / "stop" / "state.json").read_text())["position"]["row"] > 0


# Sinks and brokers


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_webhook_that_fails_twice_gets_each_alarm_once_and_signed(scorer, few, tmp_path):
    got, calls = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append(len(calls))
            if len(calls) > 2:
                expected = "sha256=" + hmac.new(b"a key", body, "sha256").hexdigest()
                got.append((self.headers["X-Timemoe-Signature"] == expected, json.loads(body)))
            self.send_response(500 if len(calls) <= 2 else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = []
    hook = Webhook(f"http://127.0.0.1:{server.server_port}/", b"a key\n", said.append, pause_s=0.05)
    told = Told(ALARMS)
    path = sorted(few.glob("[56]*.csv"))[-1]
    monitor = run_out(started(scorer, path, tmp_path, [hook, told], once=True))
    server.shutdown()
    server.server_close()
    assert [e for _, e in got] == [json.loads(json.dumps(e)) for e in told.events] and all(fine for fine, _ in got)
    assert "answered 500" in said[0] and "takes events again" in said[1] and monitor.metrics()["unsent"] == 0


@pytest.fixture
def broker(tmp_path):
    "A mosquitto of the test's own, which can be started again."
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if not binary:
        pytest.skip("mosquitto isn't installed")
    pytest.importorskip("paho.mqtt.client")
    port = free_port()
    folder = tmp_path / "broker"
    folder.mkdir()
    text = f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
    (folder / "conf").write_text(f"{text}persistence true\npersistence_location {folder}/\n")

    class Broker:
        url = f"mqtt://127.0.0.1:{port}"
        process = None

        def start(self):
            self.process = subprocess.Popen([binary, "-c", folder / "conf"], stderr=subprocess.DEVNULL)
            wait_for(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))

        def stop(self):
            self.process.terminate()
            self.process.wait()

    broker = Broker()
    broker.port = port
    broker.start()
    yield broker
    broker.stop()


def wait_for(happens, patience_s=20):
    until = time.monotonic() + patience_s
    while not happens():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def test_a_broker_that_restarts_loses_no_block_and_no_alarm(scorer, few, broker, tmp_path):
    from paho.mqtt.client import CallbackAPIVersion, Client

    whole = read(sorted(few.glob("[56]*.csv"))[-1])
    told, quiet = Told(), Told()
    sink = MqttSink(f"{broker.url}/alarms", lambda line: None)
    monitor = started(scorer, f"{broker.url}/motor", tmp_path / "home", [told, sink], n=3000)
    heard = []
    client = Client(CallbackAPIVersion.VERSION2, client_id="test", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda c, *_: c.subscribe("alarms", qos=1)
    client.on_message = lambda c, data, message: heard.append(json.loads(message.payload))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    step = lambda: monitor.step() and False
    wait_for(lambda: step() or sum("connected" in line for line in monitor.said))
    for at in range(0, 12_000, 1000):
        channels = {c: x[at : at + 1000].tolist() for c, x in zip(whole.channels, whole.signal)}
        payload = json.dumps({"t": 1000 + at / 1e4, "fs": 1e4, "channels": channels})
        client.publish("motor", payload, qos=1)
        if at == 5000:
            wait_for(lambda: step() or len(told.of("score")) == 1)
            broker.stop()
            broker.start()
        client.publish("motor", b"not json", qos=0) if at == 9000 else None
    wait_for(lambda: step() or len(told.of("score")) == 4)
    wait_for(lambda: step() or not monitor.outbox.waiting)
    wait_for(lambda: {e["key"] for e in heard} == {e["key"] for e in told.of(*ALARMS)})
    monitor.close()
    client.disconnect()
    client.loop_stop()
    path = sorted(few.glob("[56]*.csv"))[-1]
    run_out(started(scorer, path, tmp_path / "calm", [quiet], n=3000, once=True))
    assert [e["sha256"] for e in told.of("score")] == [e["sha256"] for e in quiet.of("score")]
    assert [e["start_sample"] for e in told.of("score")] == [10_000_000 + i for i in (0, 3000, 6000, 9000)]
    assert any("connection is gone" in line for line in monitor.said) and monitor.metrics()["refused"] <= 1


def test_metrics_are_prometheus_text_and_a_taken_port_is_one_line(scorer, few, tmp_path):
    exporter = Exporter(0)
    import urllib.request

    monitor = started(scorer, few, tmp_path, [exporter], once=True)
    exporter.metrics = monitor.metrics
    monitor.step()
    text = urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics").read().decode()
    numbers = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    assert numbers["timemoe_lab_blocks_total"] == "1" and float(numbers["timemoe_lab_real_time_factor"]) > 0
    with pytest.raises(InputError, match="choose another port"):
        Exporter(exporter.port)
    monitor.close()


# The command


def test_the_command_watches_a_folder_and_says_what_is_wrong(trained, few, tmp_path, capsys):
    words = ["monitor", str(trained.path), "--once", "--state", str(tmp_path / "s")]
    assert main([*words, "--source", str(few)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["recording"] for e in lines if e["event"] == "score"] == sorted(p.name for p in few.iterdir())
    alarm = next(e["id"] for e in lines if e["event"] == "open")
    assert main([*words, "--source", str(few), "--acknowledge", alarm]) == 0
    capsys.readouterr()
    assert main([*words, "--source", str(few)]) == 0
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["acknowledged"]
    wrong = {
        ("--source", "ftp://a/b"): "expected a file, a folder",
        ("--source", str(few), "--sink", "https://127.0.0.1/"): "--key FILE",
        ("--source", str(few), "--block", "0.01"): "expected at least 2560",
        ("--source", str(few), "--acknowledge", "x"): "an alarm's id",
    }
    for options, says in wrong.items():
        assert main([*words, *options]) == 2
        assert says in capsys.readouterr().err


def test_lines_of_a_killed_writer_are_whole_again(tmp_path):
    (tmp_path / "log").write_bytes(b'{"a":1}\n{"b"')
    LinesSink(str(tmp_path / "log")).deliver([{"event": "note"}])
    assert [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()] == [{"a": 1}, {"event": "note"}]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_any_size_make_the_same_blocks(size):
    said = b"TIME;CH1\n" + b"".join(f"{i // 100},{i % 100:02};{i % 9},5\n".encode() for i in range(100))
    blocks = TextBlocks("a.csv", Cut(40, 100.0, 10))
    found = []
    for at in range(0, len(said), size):
        blocks.lines.feed(said[at : at + size])
        while piece := blocks.take():
            found.append(piece)
    found.append(blocks.take(final=True))
    assert [(p.start, p.n) for p in found] == [(0, 40), (40, 40), (80, 20)]
    values = np.concatenate([p.recording.signal[0] for p in found])
    assert values.tolist() == [i % 9 + 0.5 for i in range(100)]  # decimal commas
