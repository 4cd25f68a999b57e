"""A process that starts commands of the lab and kills them where it is told to.

It imports everything once and forks for each command, so a kill costs little. Each line of its input is a command as
JSON, each line of its output what became of it. Points where a command can be stopped are counted while it runs: before
and after every rename, every removal and every flush to the disk, before every step, in the middle of every file and of
every line of events.
"""

import json
import os
import pathlib
import signal
import sys
import threading
import traceback
from importlib import import_module

import torch._dynamo  # noqa: F401 (the first optimizer of a process imports it: once, before the forks)

cli_room = import_module("timemoe_lab.cli")
checkpoint_room = import_module("timemoe_lab.run.checkpoint")
folder_room = import_module("timemoe_lab.run.folder")
loop_room = import_module("timemoe_lab.train.loop")


class Points:
    "Counts the points that a command passes, and sends it a signal at one of them."

    def __init__(self, at, number, report):
        self.at = at
        self.number = number
        self.report = report
        self.n = 0

    def __call__(self, *_):
        self.n += 1
        if self.n == self.at:
            names = [frame.name for frame in traceback.extract_stack()]
            where = "checkpoint" if "save_checkpoint" in names else "beat" if "_beat" in names else "elsewhere"
            self.report.write_text(where)
            os.kill(os.getpid(), self.number)


def around(owner, name, point):
    real = getattr(owner, name)

    def wrapped(*arguments, **keywords):
        point()
        done = real(*arguments, **keywords)
        point()
        return done

    setattr(owner, name, wrapped)


def half(path, data, point):
    with open(path, "wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        point()
        file.write(data[len(data) // 2 :])


def half_of_tensors(real, tensors, path, point):
    real(tensors, path)
    os.truncate(path, path.stat().st_size // 2)
    point()
    real(tensors, path)


def half_a_line(log, real, point):
    waiting = log._waiting
    log._waiting = waiting[: len(waiting) // 2]
    file = log.path / "events.jsonl"
    size = file.stat().st_size if file.exists() else 0
    real(log)
    point()
    os.truncate(file, size)
    log._waiting = waiting
    real(log)


def command(job, report):
    point = Points(job.get("at"), job.get("signal", signal.SIGKILL), report)
    for name in ("fsync", "replace", "rename", "unlink", "rmdir"):
        around(os, name, point)
    pathlib.Path.write_bytes = lambda path, data: half(path, data, point)
    whole = checkpoint_room.save_file
    checkpoint_room.save_file = lambda tensors, path: half_of_tensors(whole, tensors, path, point)
    real = folder_room.RunLog.flush
    folder_room.RunLog.flush = lambda log: half_a_line(log, real, point)
    advance = loop_room._advance
    loop_room._advance = lambda *arguments: [point(), advance(*arguments)][1]
    if "after_s" in job:
        threading.Timer(job["after_s"], os.kill, (os.getpid(), signal.SIGKILL)).start()
    status = cli_room.main(job["command"])
    report.write_text(str(point.n))
    return status


def main():
    for line in sys.stdin:
        job = json.loads(line)
        folder = pathlib.Path(sys.argv[1])
        report = folder / "report"
        report.write_text("")
        pid = os.fork()
        if pid == 0:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            status = 3
            try:
                status = command(job, report)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        done = {"status": os.waitstatus_to_exitcode(status), "report": report.read_text()}
        print(json.dumps(done | {name: (folder / name).read_text() for name in ("out", "err")}), flush=True)


if __name__ == "__main__":
    main()
