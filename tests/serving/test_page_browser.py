"""The page in a real browser: Chromium without a window, steered by Selenium. Slow: TL_KERAS_SLOW=1."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("gradio", reason="the page needs the extra `try`")
selenium = pytest.importorskip("selenium", reason="the browser is steered with selenium")
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)", allow_module_level=True)

from selenium.webdriver import Chrome, ChromeOptions  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

_spec = importlib.util.spec_from_file_location("pages", Path(__file__).with_name("pages.py"))
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en",
    "--window-size=1000,1100",
]


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """A page in the browser."""

    def __init__(self, chrome, address: str):
        self.chrome = chrome
        chrome.get(address)
        self.wait(lambda: self.fields() and self.button("Submit"))

    def wait(self, condition, seconds: float = 180):
        return WebDriverWait(self.chrome, seconds, 0.2).until(lambda _: condition())

    def fields(self):
        found = self.chrome.find_elements(By.CSS_SELECTOR, "textarea, input[type=text]")
        return [field for field in found if field.is_displayed() and field.is_enabled()]

    def button(self, text: str):
        found = self.chrome.find_elements(By.TAG_NAME, "button")
        return next((button for button in found if button.text.strip() == text), None)

    def text(self) -> str:
        return self.chrome.find_element(By.TAG_NAME, "body").text

    def submit(self, *values: str) -> None:
        for field, value in zip(self.fields(), values, strict=False):
            field.clear()
            field.send_keys(value)
        self.button("Submit").click()

    def example(self) -> None:
        """Click the first example, and wait until its text stands in the field."""
        self.fields()[0].clear()
        self.chrome.find_elements(By.CSS_SELECTOR, "tbody tr, .gallery-item")[0].click()
        self.wait(lambda: self.fields()[0].get_attribute("value"))

    def shows(self, *parts: str) -> None:
        """Wait until all of these are to be seen; fields count by what is in them."""

        def seen() -> bool:
            boxes = self.chrome.find_elements(By.CSS_SELECTOR, "textarea, input")
            text = " ".join([self.text(), *(box.get_attribute("value") or "" for box in boxes)])
            return all(part in text for part in parts)

        self.wait(seen)

    def asked_elsewhere(self) -> list[str]:
        """Addresses other than this machine's that the browser was made to ask for."""
        messages = [json.loads(entry["message"])["message"] for entry in self.chrome.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert asked
        return [address for address in asked if not re.match(r"http://127\.0\.0\.1:|data:|blob:|chrome", address)]


@contextlib.contextmanager
def shown(chrome, model, examples=()):
    from tl_keras.serving.http.options import bind
    from tl_keras.serving.page import interface, show
    from tl_keras.serving.page_views import view_of

    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    page = interface(view_of(model), list(examples), "by hand")
    try:
        yield Page(chrome, show(page, "127.0.0.1", port))
    finally:
        page.close(verbose=False)


def test_every_view_in_the_browser(chrome, tmp_path):
    with shown(chrome, pages.classifier(), [["ab"]]) as page:
        page.shows("what the run got wrong")
        page.submit("   ")
        page.shows("Write something into every field first.")
        page.example()
        page.button("Submit").click()
        # And the explanation, of its one word.
        page.shows("short", "25%", "긴 글", "75%", "긴 글 0.7500 (0.0000 without any word)")
    with shown(chrome, pages.tagger()) as page:
        page.submit("김구 서울")
        page.shows("PER", "LOC", "0.900")
    with shown(chrome, pages.answerer()) as page:
        page.submit("who?", "Kim came.")
        page.shows("Kim  (0.500)", "0.250")
    with shown(chrome, pages.encoder()) as page:
        page.submit("a", "ab")
        page.shows("cosine 0.707")
    with shown(chrome, pages.regressor()) as page:
        page.submit("a", "b")
        page.shows("score 4.000")
    with shown(chrome, pages.index()) as page:
        page.submit("aab")
        page.shows("abab", "0.949")
        assert page.asked_elsewhere() == []


def test_a_trained_run_from_the_command_line(chrome, tmp_path):
    """Also draws the picture for the docs, where TL_KERAS_SCREENSHOT says."""
    data = Path(__file__).resolve().parents[2] / "data" / "reviews_en.csv"
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    command = [sys.executable, "-m", "tl_keras"]
    run = tmp_path / "reviews"
    train = [
        "train",
        "text-classification",
        "--train",
        data,
        "--out",
        run,
        "--encoder",
        "ko-en-small",
        "--transfer",
        "freeze",
    ]
    subprocess.run(
        [*command, *map(str, train), "--validation-split", "0.3"], check=True, env=environment, capture_output=True
    )
    process = subprocess.Popen(
        [*command, "try", str(run), "--port", "0"],
        env={**environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = process.stdout.readline().split()
        assert address, process.stderr.read()
        page = Page(chrome, address[0])
        page.shows("`reviews`".strip("`"), "what the run got wrong")
        page.example()
        page.button("Submit").click()
        page.shows("%", "without any word)")
        if os.environ.get("TL_KERAS_SCREENSHOT"):
            chrome.save_screenshot(os.environ["TL_KERAS_SCREENSHOT"])
        assert page.asked_elsewhere() == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
