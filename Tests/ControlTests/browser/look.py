#!/usr/bin/env python3
"""Opens a page in headless Chromium and says, as one JSON object, what a visitor would meet.

    look.py URL SCREENSHOT-DIRECTORY

Drives the browser over its DevTools pipe (file descriptors 3 and 4, JSON with a NUL behind each
message), so that no port is opened. Ends with 77 when there is no Chromium.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

DEADLINE_S = 60
SIZES = {"desktop": (1280, 900, 1), "phone": (390, 844, 2)}


class Browser:
    def __init__(self, program, profile):
        self.to_browser, self.from_browser = os.pipe(), os.pipe()
        ours = (self.to_browser[1], self.from_browser[0])

        def prepare():
            # Out of the way first: one of them may be number 3 or 4.
            reading, writing = os.dup(self.to_browser[0]), os.dup(self.from_browser[1])
            reading, writing = os.dup2(reading, 40), os.dup2(writing, 41)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--disable-default-apps", "--no-pings", "--disable-extensions",
             "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
             f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            preexec_fn=prepare, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(self.to_browser[0])
        os.close(self.from_browser[1])
        self.writing, self.reading = ours
        self.number, self.buffer, self.events = 0, b"", []
        self.until = time.monotonic() + DEADLINE_S

    def message(self):
        import select
        while b"\0" not in self.buffer:
            left = self.until - time.monotonic()
            if left <= 0 or not select.select([self.reading], [], [], left)[0]:
                raise SystemExit("look.py: the browser did not answer in time")
            data = os.read(self.reading, 1 << 16)
            if not data:
                raise SystemExit("look.py: the browser has gone")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, session=None, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if session:
            request["sessionId"] = session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self.writing, data):]
        while True:
            message = self.message()
            if message.get("id") == request["id"]:
                if "error" in message:
                    raise SystemExit(f"look.py: {method}: {message['error']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)


class Page:
    def __init__(self, browser):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in result:
            raise SystemExit(f"look.py: {expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression):
        while not self.value(expression):
            if time.monotonic() > self.browser.until:
                raise SystemExit(f"look.py: never came true: {expression}")
            time.sleep(0.05)

    def key(self, name, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=code, text=text)


WIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') &&
 !e.classList.contains('skip') && e.getBoundingClientRect().right > innerWidth + 1)
 .map(e => e.tagName + '#' + e.id + '.' + e.className)"""
SMALL = """[...document.querySelectorAll('button, a')].filter(e => e.offsetParent &&
 e.tagName === 'BUTTON' && e.getBoundingClientRect().height < 24).length"""


def complaints(events):
    said = []
    for event in events:
        parameters = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            said.append("exception: " + json.dumps(parameters["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded":
            said.append("log: " + json.dumps(parameters["entry"]))
        elif event["method"] == "Runtime.consoleAPICalled":
            said.append("console: " + json.dumps(parameters.get("args")))
        elif event["method"] == "Network.loadingFailed":
            said.append("failed: " + json.dumps(parameters))
    return said


def look(page, url, directory):
    found = {}
    for name, (width, height, scale) in SIZES.items():
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=scale, mobile=name == "phone")
        page.call("Page.navigate", url=url)
        page.wait("document.body && document.body.dataset.shown === 'yes'")
        found[name] = {
            "text": page.value("document.body.innerText"),
            "title": page.value("document.title"),
            "scrolls": page.value("document.documentElement.scrollWidth > innerWidth"),
            "wide": page.value(WIDE),
            "small": page.value(SMALL),
            "columns": page.value(
                "getComputedStyle(document.querySelector('.tiles')).gridTemplateColumns"
                ".split(' ').length"),
            "elements": page.value("document.querySelectorAll('main *').length"),
            "inked": page.value("""(() => { const c = document.getElementById('throughput');
 const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
 for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n / (c.width * c.height); })()"""),
        }
        picture = page.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path = os.path.join(directory, f"page-{name}.png")
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))
        found[name]["screenshot"] = path
    page.call("Emulation.setEmulatedMedia",
              features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1,
              mobile=False)
    found["dark"] = page.value("getComputedStyle(document.body).backgroundColor")
    picture = page.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
    with open(os.path.join(directory, "page-dark.png"), "wb") as file:
        file.write(base64.b64decode(picture["data"]))
    return found


def use_keyboard(page):
    """Tab reaches everything that can be used, P pauses, arrows move along a chart."""
    page.value("document.activeElement.blur()")
    reached = []
    for _ in range(14):
        page.key("Tab", "Tab")
        reached.append(page.value("(document.activeElement.id || document.activeElement.className"
                                  " || document.activeElement.tagName)"))
    page.value("document.getElementById('throughput').focus()")
    before = page.value("document.getElementById('throughput-key').textContent")
    page.key("ArrowLeft", "ArrowLeft")
    after = page.value("document.getElementById('throughput-key').textContent")
    page.key("p", "KeyP", "p")
    paused = page.value("document.getElementById('live').textContent")
    return {"reached": reached, "before": before, "after": after, "paused": paused}


def main():
    url, directory = sys.argv[1:3]
    program = shutil.which("chromium")
    if not program:
        sys.exit(77)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            page = Page(browser)
            found = look(page, url, directory)
            found["keyboard"] = use_keyboard(page)
            found["injected"] = page.value("window.injected === undefined ? 0 : 1")
            found["markup"] = page.value(
                "document.querySelectorAll('main img, main script, main iframe, main b').length")
            found["complaints"] = complaints(browser.events)
            found["asked"] = sorted({event["params"]["request"]["url"] for event in browser.events
                                     if event["method"] == "Network.requestWillBeSent"})
        finally:
            browser.process.kill()
            browser.process.wait()
    print(json.dumps(found))


main()
