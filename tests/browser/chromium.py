"""Chromium without a window, asked over its own pipe: no driver, no port, no package.

It listens on file descriptor 3 and answers on 4, JSON objects that end with a zero byte:
https://chromedevtools.github.io/devtools-protocol/.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
INSTALL = "no Chromium here: apt-get install chromium, or sh scripts/services.sh as root"
PATIENCE_S = 120
"""A busy machine may take long; nothing is measured here."""


def find_chromium():
    """Return the path of Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: what it did is in ``errors`` and ``requests``."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session
        self.errors, self.requests = [], []

    def ask(self, method, **params):
        return self._browser.ask(method, session=self._session, **params)

    def show(self, url, *, width, height, dark=False, calm=True, phone=False):
        """Open an address in a window of a size, and wait until it is loaded."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        wishes = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.ask("Emulation.setEmulatedMedia", features=wishes)
        self.ask("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script):
        """Return the value of an expression; what it throws is an error here."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def wait(self, condition):
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.run(condition):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {condition}")
            time.sleep(0.05)

    def press(self, key, *, code=0):
        """Press and let go of a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind, key=key, windowsVirtualKeyCode=code,
                **({"text": key} if kind == "keyDown" and len(key) == 1 else {}),
            )  # fmt: skip

    def click(self, selector):
        """Click into the middle of an element, as a mouse does."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def picture(self, path, *, whole=True):
        """Write a screenshot, PNG, of all the page or of what is seen."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def heard(self, method, params):
        """Keep what the page told."""
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"].get("exception", params)))
        elif method == "Runtime.consoleAPICalled":
            self.errors.append(f"{params['type']}: {params['args']}")
        elif method == "Log.entryAdded":
            self.errors.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


class Browser:
    """A running Chromium."""

    def __init__(self, to_it, from_it):
        self._to, self._from, self._held = to_it, from_it, b""
        self._last, self._pages = 0, {}

    def page(self):
        """Return a new tab."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        return page

    def ask(self, method, *, session=None, **params):
        """Send a command, and return its answer."""
        self._last += 1
        wanted = self._last
        message = {"id": wanted, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(method)
            if answer.get("id") == wanted:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if (page := self._pages.get(answer.get("sessionId"))) and "method" in answer:
                page.heard(answer["method"], answer["params"])

    def _next(self, method):
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._from], [], [], PATIENCE_S)
            piece = os.read(self._from, 1 << 20) if ready else b""
            if not piece:
                raise AssertionError(f"Chromium gave no answer to {method}")
            self._held += piece
        line, _, self._held = self._held.partition(b"\0")
        return json.loads(line)


@contextmanager
def chromium(folder: Path):
    """Yield a browser whose files all lie in ``folder``."""
    pipes = [*os.pipe(), *os.pipe()]
    theirs_in, ours_out, ours_in, theirs_out = (
        fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in pipes
    )
    for one in pipes:
        os.close(one)
    command = [
        # it wants them under these numbers; a shell can do that without forking our threads
        "bash", "-c", f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"', "bash",
        find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", f"--crash-dumps-dir={folder}", "about:blank",
    ]  # fmt: skip
    log = (folder / "chromium.log").open("wb")
    process = subprocess.Popen(
        command, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=log,
        stderr=log, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    try:
        os.close(theirs_in)
        os.close(theirs_out)
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
