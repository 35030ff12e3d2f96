"""A headless Chromium, driven over its own debugging pipe; absent where none is installed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--force-color-profile=srgb", "--remote-debugging-pipe"),
)
PATIENCE = 180.0
"""Seconds that an answer may take."""


class Tab:
    """One page. It keeps what the page said on its console, and what it asked to be fetched."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._rest = b""
        self.said: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Performance.enable", timeDomain="threadTicks")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            found = os.read(self._back, 1 << 20)
            assert found, "the browser has ended"
            self._rest += found
        line, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Runtime.consoleAPICalled":
            self.said.append(str(about["args"]))
        elif event == "Runtime.exceptionThrown":
            self.said.append(str(about["exceptionDetails"]))
        elif event == "Log.entryAdded":
            self.said.append(about["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    @property
    def busy(self) -> float:
        """Seconds of a processor that the page has taken, however busy the machine is."""
        found = self.call("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in found if metric["name"] == "TaskDuration")

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Open a page that sets ``data-ready`` when it is."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        self.wait("document.documentElement?.dataset.ready || document.getElementById('failed')")

    def wait(self, condition: str) -> None:
        """Until an expression is true."""
        until = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < until, f"never: {condition}"
            time.sleep(0.02)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """``mouseMoved``, ``mousePressed`` or ``mouseReleased`` at a point of the window."""
        button = "none" if kind == "mouseMoved" else "left"
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        found = self.call(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1}
        )
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """A tab of a new browser, which has its profile in ``folder``."""
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    # The browser reads from 3 and writes to 4, whatever numbers the pipes have here.
    program = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={folder / 'profile'}"]
    process = subprocess.Popen(
        ["bash", "-c", program, "bash", str(their_in), str(their_out), *command],
        pass_fds=(their_in, their_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_in)
    os.close(their_out)
    try:
        yield Tab(our_out, our_in)
    finally:
        os.close(our_out)
        os.close(our_in)
        process.terminate()
        process.wait(PATIENCE)
