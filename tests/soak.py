"""A monitor against a real mosquitto for some minutes, with the broker restarted twice: does its memory stay flat?

python tests/soak.py [--minutes 11 --speed 2]
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from paho.mqtt.client import CallbackAPIVersion, Client

from timemoe_lab.data.readers import read
from timemoe_lab.demo import _sample, small_run

PIECE = 1000  # samples of a message


def broker(folder, port):
    "Starts mosquitto; it keeps its messages over a restart."
    where = f"persistence true\npersistence_location {folder}/\nmax_queued_messages 10000\n"
    (folder / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n{where}")
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    return subprocess.Popen([binary, "-c", folder / "conf"], stderr=subprocess.DEVNULL)


def publisher(port):
    client = Client(CallbackAPIVersion.VERSION2, client_id="soak", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def pieces():
    "The samples of the repository's recordings, again and again."
    recordings = [read(path) for path in sorted(_sample().glob("[0-9]*.csv"))]
    while True:
        for r in recordings:
            for at in range(0, r.n_samples, PIECE):
                yield dict(zip(r.channels, r.signal[:, at : at + PIECE].tolist()))


def drain(events, quiet_s=15, most_s=300):
    "Waits until nothing more is told."
    until = time.monotonic() + most_s
    size, since = 0, time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < quiet_s:
        if events.stat().st_size != size:
            size, since = events.stat().st_size, time.monotonic()
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=11)
    parser.add_argument("--speed", type=float, default=2, help="times real time")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = broker(folder, port)
    time.sleep(1)
    url = f"mqtt://127.0.0.1:{port}"
    words = ["monitor", small_run().path, "--source", f"{url}/motor", "--state", folder / "state"]
    words += ["--sink", f"{url}/alarms", "--sink", folder / "events.jsonl"]
    command = [sys.executable, "-c", "import sys; from timemoe_lab.cli import main; sys.exit(main(sys.argv[1:]))"]
    log = open(folder / "log", "w")
    monitor = subprocess.Popen([str(w) for w in [*command, *words]], stderr=log)
    while "connected" not in (folder / "log").read_text():
        time.sleep(0.2)  # what is published before the first subscription reaches nobody
    client = publisher(port)
    began = time.monotonic()
    restarts = [began + share * 60 * options.minutes for share in (0.3, 0.65)]
    rss = []
    for i, channels in enumerate(pieces()):
        t = i * PIECE / 1e4
        time.sleep(max(0.0, began + t / options.speed - time.monotonic()))
        client.publish("motor", json.dumps({"t": t, "fs": 1e4, "channels": channels}), qos=1)
        if restarts and time.monotonic() > restarts[0]:
            restarts.pop(0)
            process.terminate()
            process.wait()
            time.sleep(3)
            process = broker(folder, port)
        if i % 100 == 0:
            rss.append(psutil.Process(monitor.pid).memory_info().rss / 1e6)
            print(f"{time.monotonic() - began:.0f} s: {rss[-1]:.0f} MB", flush=True)
        if time.monotonic() - began > 60 * options.minutes:
            break
    drain(folder / "events.jsonl")
    monitor.terminate()
    status = monitor.wait(60)
    counts = json.loads((folder / "state" / "state.json").read_text())["counts"]
    client.disconnect()
    process.terminate()
    process.wait()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    starts = [e["start_sample"] for e in events if e["event"] == "score"]
    gaps = sum(b - a != 10_000 for a, b in zip(starts, starts[1:]))
    minute = max(1, len(rss) // int(max(1, options.minutes)))
    told = {"exit": status, "sent_s": (i + 1) * PIECE / 1e4, "blocks": len(starts), "gaps": gaps}
    told |= {"dropped": counts.get("dropped", 0), "alarms": sum(e["event"] == "open" for e in events)}
    told |= {
        "rss_mb_first_minute": max(rss[1:minute]),
        "rss_mb_last_minute": max(rss[-minute:]),
        "rss_mb_most": max(rss),
    }
    print(json.dumps(told))
    print("\n".join(re.findall(r".*blocks, .*", (folder / "log").read_text())[-1:]))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
