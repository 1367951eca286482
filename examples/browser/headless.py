#!/usr/bin/env python3
"""examples/browser/headless.py - the page in a Chromium without a window, and questions to it.

Speaks Chromium's own protocol (messages of JSON, each ended by a byte 0) through two pipes: nothing
else has to be installed. The demo and the tests use it.
SPDX-License-Identifier: Apache-2.0
"""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

PAGE = Path(__file__).resolve().parent / "index.html"
NAMES = ("chromium", "chromium-browser", "google-chrome")
ANSWER_S = 60


def find():
    """The program, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def above_ten(end):
    number = fcntl.fcntl(end, fcntl.F_DUPFD, 10)
    os.close(end)
    return number


class Page:
    def __init__(self, parameters, is_dark=False):
        self.place = tempfile.mkdtemp(prefix="merle-chromium-")
        theirs_in, self.out = map(above_ten, os.pipe())
        self.inward, theirs_out = map(above_ten, os.pipe())

        def give_pipes():
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        # pylint: disable=subprocess-popen-preexec-fn,consider-using-with
        self.process = subprocess.Popen(
            [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-dev-shm-usage", "--disable-background-networking", "--mute-audio",
             "--hide-scrollbars", "--remote-debugging-pipe", "--window-size=1280,800",
             f"--user-data-dir={self.place}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=give_pipes, pass_fds=(3, 4))
        os.close(theirs_in)
        os.close(theirs_out)
        self.number, self.buffer, self.session = 0, b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.call("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1,
                  mobile=False)
        if is_dark:
            scheme = {"name": "prefers-color-scheme", "value": "dark"}
            self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=PAGE.as_uri() + "?" + urlencode(parameters))
        self.wait("document.readyState === 'complete'")

    def read(self, until):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.inward], [], [], max(0, until - time.monotonic()))
            some = os.read(self.inward, 1 << 16) if ready else b""
            if not some:
                raise RuntimeError("Chromium does not answer")
            self.buffer += some
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        until, answer = time.monotonic() + ANSWER_S, {}
        while answer.get("id") != self.number:
            answer = self.read(until)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def ask(self, expression):
        """The value of an expression of JavaScript, in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def wait(self, condition, patience_s=30):
        """Asks until the condition holds; False: it never did."""
        until = time.monotonic() + patience_s
        while not self.ask(f"Boolean({condition})"):
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def rows(self, collection):
        """What the page shows of a collection: {key: {column: text}}."""
        return self.ask(
            "(() => { show(%s); const cells = (row) => [...row.children].map((c) => c.textContent);"
            "const [names] = [...document.querySelectorAll('#table thead tr')].map(cells);"
            "const rows = [...document.querySelectorAll('#table tbody tr')].map(cells);"
            "return Object.fromEntries(rows.map((row) => [row[0], Object.fromEntries("
            "row.map((text, i) => [names[i], text]))])); })()" % json.dumps(collection))

    def picture(self, path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
        except (RuntimeError, OSError):
            self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.inward)
        shutil.rmtree(self.place, ignore_errors=True)
