"A real JupyterLab, a real Chromium, and a hand on the mouse."

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import nbformat
import pytest

from .latency import QUIET, find_chromium

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
NOISE = ("Could not restore the debugger state",)  # JupyterLab says so when a page is left while it loads
NOTEBOOK = "jupyterapp.shell.currentWidget"


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(found, what, seconds=40.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:g} s")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    "A JupyterLab of its own: port, token, settings and folder."
    home = tmp_path_factory.mktemp("lab")
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    (home / "notebooks").mkdir()
    port, token = free_port(), secrets.token_hex(16)
    own = {f"JUPYTER_{k}_DIR": str(home / k.lower()) for k in ("CONFIG", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    own |= {"IPYTHONDIR": str(home / "ipython"), "OMP_NUM_THREADS": "1", "JUPYTER_PLATFORM_DIRS": "1"}
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root"]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={home / 'notebooks'}"]
    options += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
    with open(home / "log.txt", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=os.environ | own,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
            start_new_session=True,
        )
    server = SimpleNamespace(
        url=f"http://127.0.0.1:{port}", token=token, folder=home / "notebooks", log=home / "log.txt"
    )
    try:
        wait_for(lambda: answers(server, process), "JupyterLab")
        yield server
    finally:
        shut_down(server, process)


def ask_server(server, path, method="GET"):
    request = urllib.request.Request(f"{server.url}{path}", method=method)
    request.add_header("Authorization", f"token {server.token}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()


def answers(server, process):
    assert process.poll() is None, server.log.read_text()
    try:
        return ask_server(server, "/api/status")
    except OSError:
        return None


def shut_down(server, process):
    try:
        ask_server(server, "/api/shutdown", "POST")
        process.wait(15)
    except (OSError, subprocess.TimeoutExpired):
        process.terminate()
        process.wait(15)


@pytest.fixture(scope="module")  # Playwright's event loop runs until it is stopped: no other module's test may meet it
def browser():
    "Headless Chromium from the system."
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium), then run this again", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=QUIET.split())
        yield browser
        browser.close()


def is_here(url):
    "Whether a request stays on this machine."
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "file", "about") or parts.hostname == "127.0.0.1"


class Room:
    "A page with panels: a notebook in JupyterLab, or a saved file."

    def __init__(self, browser, *, width, height, dark, motion="no-preference"):
        size, scheme = {"width": width, "height": height}, "dark" if dark else "light"
        self.context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion=motion)
        self.page, self.problems, self.requests = self.context.new_page(), [], []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("websocket", lambda socket: self._note(socket.url))

    def _hear(self, message):
        if message.type == "error" and not message.text.startswith(NOISE):
            self.problems.append(f"console: {message.text} {message.location}")

    def _note(self, url):
        self.requests.append(url)
        if not is_here(url):
            self.problems.append(f"request to {url}")

    def panel(self, i=0):
        return self.page.locator(".tm-panel").nth(i)

    def data(self, i=0):
        "The data-* attributes of a panel's root."
        return self.panel(i).evaluate("node => ({...node.dataset})")

    def shot(self, name, i=None):
        "Keeps a picture of the page, or of one panel."
        SCREENSHOTS.mkdir(exist_ok=True)
        (self.page if i is None else self.panel(i)).screenshot(path=SCREENSHOTS / f"{name}.png")

    def close(self):
        self.context.close()


class LabRoom(Room):
    "A notebook in JupyterLab."

    def open(self, server, path, dark):
        self.url = (
            f"{server.url}/lab/workspaces/{path.stem}/tree/{path.relative_to(server.folder)}?token={server.token}"
        )
        self.flag = path.with_suffix(".go")
        self.theme = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.goto(self.url)
        self._settle()

    def _settle(self):
        ready = f"window.jupyterapp && {NOTEBOOK}?.sessionContext?.session?.kernel?.status == 'idle'"
        self.page.wait_for_function(ready, timeout=60_000)
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", self.theme)
        self.page.evaluate("jupyterapp.shell.leftCollapsed || jupyterapp.shell.collapseLeft()")
        self.page.wait_for_function(f"document.body.dataset.jpThemeName == '{self.theme}'")

    def run_all(self):
        "Runs every cell and waits; a cell that fails is an error here."
        self.page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        self._finish()

    def run_cell(self, i):
        self.page.evaluate(f"i => {{ {NOTEBOOK}.content.activeCellIndex = i }}", i)
        self.page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")
        self._finish()

    def _finish(self):
        self.wait_idle()
        cells = f"Array.from({NOTEBOOK}.content.model.cells)"
        script = f"{cells}.filter(c => c.type == 'code').flatMap(c => c.toJSON().outputs)"
        failed = [o for o in self.page.evaluate(script) if o["output_type"] == "error"]
        assert not failed, "\n".join(failed[0]["traceback"])

    def wait_idle(self, seconds=60):
        kernel = f"{NOTEBOOK}.sessionContext.session.kernel"
        self.page.wait_for_function(f"{kernel}.status == 'idle'", timeout=1000 * seconds)

    def kernel(self, code):
        "What `code` prints in the notebook's kernel."
        script = f"""async code => {{
            const future = {NOTEBOOK}.sessionContext.session.kernel.requestExecute({{ code, store_history: false }});
            let text = "";
            future.onIOPub = m => {{ if (m.header.msg_type == "stream") text += m.content.text;
                                     if (m.header.msg_type == "error") text += "FAILED " + m.content.evalue; }};
            await future.done;
            return text;
        }}"""
        text = self.page.evaluate(script, code)
        assert not text.startswith("FAILED"), text
        return text

    def start(self, code):
        "Runs `code` in the notebook's kernel and waits for its beginning only."
        script = f"""code => new Promise(begun => {{
            const future = {NOTEBOOK}.sessionContext.session.kernel.requestExecute({{ code, store_history: false }});
            window.kernelIsBusy = true;
            future.onIOPub = m => m.header.msg_type == "execute_input" && begun();
            future.done.then(() => {{ window.kernelIsBusy = false; }});
        }})"""
        self.page.evaluate(script, code)

    def is_busy(self):
        "Whether what `start` began still runs; the kernel's status may say idle, for the debugger's sake."
        return self.page.evaluate("window.kernelIsBusy === true")

    def keep_busy(self):
        "Keeps the notebook's kernel busy until `let_go`."
        self.flag.unlink(missing_ok=True)
        self.start(f"import os, time\nwhile not os.path.exists({str(self.flag)!r}): time.sleep(0.05)")

    def let_go(self):
        self.flag.touch()
        self.page.wait_for_function("window.kernelIsBusy === false")
        self.wait_idle()

    def stop_kernel(self):
        self.page.evaluate(f"{NOTEBOOK}.sessionContext.shutdown()")

    def reload(self):
        self.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
        self.page.goto(self.url)
        self._settle()

    def close(self):
        try:
            self.flag.touch()
            self.stop_kernel()
        finally:
            super().close()


@pytest.fixture
def rooms(browser):
    "The rooms of one test: closed at its end, which fails on a console error or a request to another machine."
    opened = []
    yield opened
    problems = [problem for room in opened for problem in room.problems]
    for room in opened:
        room.close()
    assert not problems, "\n".join(problems)


@pytest.fixture
def open_room(lab, browser, rooms, request):
    "Opens a copy of a notebook, or one of the cells that are given."

    def open_room(name="room", *, cells=None, width=1400, height=1000, dark=False):
        path = lab.folder / f"{Path(name).stem}-{secrets.token_hex(4)}.ipynb"
        if cells is None:
            shutil.copytree(ROOT / "docs", lab.folder / "docs", dirs_exist_ok=True)  # the pictures that rooms show
            shutil.copy(name if Path(name).is_file() else ROOT / "nbs" / f"{name}.ipynb", path)
        else:
            book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
            book.metadata["kernelspec"] = {"display_name": "python3", "language": "python", "name": "python3"}
            nbformat.write(book, path)
        room = LabRoom(browser, width=width, height=height, dark=dark)
        rooms.append(room)
        room.open(lab, path, dark)
        return room

    return open_room


@pytest.fixture
def open_page(browser, rooms, tmp_path):
    "Opens a piece of HTML, or a whole file, from the disk."

    def open_page(html, *, width=1400, height=1000, dark=False, motion="no-preference"):
        path = html if isinstance(html, Path) else tmp_path / f"{secrets.token_hex(4)}.html"
        if path is not html:
            look = "<style>:root { color-scheme: light dark; } body { background: Canvas; }</style>"
            path.write_text(f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>x</title>{look}{html}</html>')
        room = Room(browser, width=width, height=height, dark=dark, motion=motion)
        rooms.append(room)
        room.page.goto(path.as_uri())
        return room

    return open_page
