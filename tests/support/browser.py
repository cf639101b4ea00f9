"""A real headless Chromium, driven through its DevTools protocol over a pipe: no driver, no web socket, no network.

with Browser() as browser, browser.open(path) as page:
    page.evaluate("document.title")

The protocol is NUL-separated JSON on the browser's file descriptors 3 (in) and 4 (out).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

PATIENCE_S = 30.0
"""A page that takes longer than this on a busy machine is broken."""

_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


def find_chromium() -> str | None:
    """The browser's executable; BNBENCH_CHROMIUM names another one."""
    named = os.environ.get("BNBENCH_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class BrowserError(Exception):
    """The browser refused a command, raised an error in the page, or did not answer."""


class Browser:
    """One browser process with a profile of its own, ended and removed with the block."""

    def __init__(self, executable: str | None = None) -> None:
        self._executable = executable or find_chromium()
        self._count = 0
        self._buffer = b""
        self.events: list[dict] = []

    def __enter__(self) -> Browser:
        if self._executable is None:
            raise BrowserError("there is no Chromium here")
        self._profile = tempfile.TemporaryDirectory(prefix="bnbench-chromium-")
        child_in, self._to = _pipe()
        self._from, child_out = _pipe()
        arguments = [self._executable, *_FLAGS, f"--user-data-dir={self._profile.name}"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # Chromium's sandbox refuses to run as root
        silence = os.open(os.devnull, os.O_RDWR)
        actions = [
            (os.POSIX_SPAWN_DUP2, child_in, 3),
            (os.POSIX_SPAWN_DUP2, child_out, 4),
            (os.POSIX_SPAWN_DUP2, silence, 1),
            (os.POSIX_SPAWN_DUP2, silence, 2),
        ]
        # A process group of its own, so that the helpers it starts end with it.
        self._process = os.posix_spawn(self._executable, arguments, os.environ, file_actions=actions, setpgroup=0)
        for descriptor in (child_in, child_out, silence):
            os.close(descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._to)
        os.close(self._from)
        # The helpers may take a moment to let go of the profile.
        for _attempt in range(50):
            shutil.rmtree(self._profile.name, ignore_errors=True)
            if not Path(self._profile.name).exists():
                break
            time.sleep(0.05)
        self._profile._finalizer.detach()

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False
    ) -> Page:
        """A tab that has loaded a file from disk."""
        return Page(self, path, width=width, height=height, dark=dark, phone=phone)

    def command(self, method: str, session: str | None = None, **parameters: object) -> dict:
        """Send a command and wait for its answer; what happens meanwhile is kept in `events`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, session: str, method: str) -> dict:
        """The next event of that name, or one that has come already."""
        seen = 0
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for event in self.events[seen:]:
                if event.get("sessionId") == session and event["method"] == method:
                    return event
            seen = len(self.events)
            self.events.append(self._receive(deadline, method))

    def _receive(self, deadline: float, waiting_for: str) -> dict:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._from], [], [], max(0.0, left))
            if not ready:
                raise BrowserError(f"no answer within {PATIENCE_S:g} s, waiting for {waiting_for}")
            received = os.read(self._from, 1 << 20)
            if not received:
                raise BrowserError(f"the browser went away, waiting for {waiting_for}")
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


class Page:
    """One loaded tab."""

    def __init__(self, browser: Browser, path: Path, *, width: int, height: int, dark: bool, phone: bool) -> None:
        self._browser = browser
        target = browser.command("Target.createTarget", url="about:blank")["targetId"]
        self._target = target
        self._session = browser.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = "dark" if dark else "light"
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.url = path.resolve().as_uri()
        browser.events.clear()
        started = time.monotonic()
        self.command("Page.navigate", url=self.url)
        browser.wait_for(self._session, "Page.loadEventFired")
        self.load_s = time.monotonic() - started
        """Seconds from the request to the page's load event."""

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.command("Target.closeTarget", targetId=self._target)

    def command(self, method: str, **parameters: object) -> dict:
        """A command for this tab."""
        return self._browser.command(method, self._session, **parameters)

    def evaluate(self, expression: str) -> object:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait_until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"never true: {condition}")
            time.sleep(0.03)

    def press(self, key: str, *, code: str | None = None, text: str | None = None, shift: bool = False) -> None:
        """Press and release a key, as a user would: "Tab", "Enter", " "."""
        numbers = {"Tab": 9, "Enter": 13, " ": 32, "Escape": 27}
        common = {
            "key": key,
            "code": code or {" ": "Space"}.get(key, key),
            "windowsVirtualKeyCode": numbers.get(key, 0),
            "modifiers": 8 if shift else 0,
        }
        written = text if text is not None else {" ": " ", "Enter": "\r"}.get(key)
        extra = {} if written is None else {"text": written}
        self.command("Input.dispatchKeyEvent", type="keyDown", **common, **extra)
        self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """A picture of what is seen, or of the whole page."""
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def errors(self) -> list[str]:
        """What the page complained about: exceptions, console errors and warnings, blocked content."""
        found = []
        for event in self._own_events():
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning", "assert"}:
                found.append(" ".join(str(each.get("value", each.get("description"))) for each in parameters["args"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
                found.append(parameters["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Every address the page asked for beside its own and what it made up itself (data:, blob:)."""
        asked = [
            event["params"]["request"]["url"]
            for event in self._own_events()
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if url.partition("#")[0] != self.url and not url.startswith(("data:", "blob:"))]

    def clear_events(self) -> None:
        """Forget what has happened so far."""
        self._browser.events.clear()

    def _own_events(self) -> list[dict]:
        return [event for event in self._browser.events if event.get("sessionId") == self._session]


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the descriptors that the child's are put on."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
