"""The proxy as a process in front of real parties: asked by the official client, and in a real Chromium."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from mpcinfer.clear import ClearModel
from mpcinfer.models.folder import save_model
from mpcinfer.models.load import load_model
from tests.deadlines import HANG_S
from tests.mpcinfer.test_chat import TEMPLATE

pytestmark = pytest.mark.e2e
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ALONE = ["--no-sandbox", "--disable-background-networking", "--disable-sync", "--no-first-run"]
QUESTION = "try:"
"""Its answer has no near ties, which a truncation that may be off by a last place would decide."""


@dataclass
class Running:
    """A proxy, its address, its token and its model's name."""

    process: subprocess.Popen[str]
    address: str
    token: str
    model: str
    folder: Path

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=self.token, timeout=HANG_S, max_retries=0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    plain, folder = load_model("tiny-python"), tmp_path_factory.mktemp("proxy") / "model"
    tokenizer = dataclasses.replace(plain.tokenizer, chat_template=TEMPLATE)
    save_model(folder, dataclasses.replace(plain, tokenizer=tokenizer))
    token = folder.parent / "token"
    command = [sys.executable, "-m", "mpcinfer", "proxy", "--local", "private", "--model", str(folder)]
    command += ["--port", "0", "--tokens", "5", "--token-file", str(token)]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    said, address = list[str](), None
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"privately, at (http://127\.0\.0\.1:\d+)/v1", line):
            address = found[1]
        if "Ctrl-C" in line:
            break
    assert address is not None, "".join(said)
    model = "model"
    yield Running(process, address, token.read_text().strip(), model, folder)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=HANG_S)
    assert "exactly as billed" in " ".join(rest.split()), rest


def expected(folder: Path, messages: list[dict[str, str]]) -> str:
    fixed = ClearModel(load_model(str(folder)), fixed_point=True)
    return fixed.complete(fixed.public.tokenizer.chat(messages), max_new_tokens=5).text


@pytest.mark.slow
def test_the_official_client_streams_an_answer_with_its_bill(running: Running) -> None:
    client = running.client()
    assert [model.id for model in client.models.list()] == [running.model]
    messages: Any = [{"role": "user", "content": QUESTION}]
    stream = client.chat.completions.create(
        model=running.model, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    text, usage = "", None
    for event in stream:
        text += "".join(choice.delta.content or "" for choice in event.choices)
        usage = event.usage or usage
    assert text == expected(running.folder, messages)
    assert usage is not None
    bill = usage.model_dump()["bill"]
    assert bill["rounds"] > 0
    assert bill["online_bytes_to_server"] > 0
    whole = client.chat.completions.create(model=running.model, messages=messages)
    assert whole.choices[0].message.content == text
    assert whole.choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError, match="tools: not in private runs"):
        client.chat.completions.create(
            model=running.model, messages=messages, tools=[{"type": "function", "function": {"name": "f"}}]
        )
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="another").models.list()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install one, or set CHROMIUM")
@pytest.mark.parametrize(("size", "scheme"), [((1280, 800), "light"), ((390, 844), "dark")])
def test_the_page_answers_and_shows_what_the_server_saw(
    running: Running, size: tuple[int, int], scheme: str
) -> None:
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright")
    troubles, asked_for = list[str](), list[str]()
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ALONE)
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        page.on(
            "request", lambda asked: troubles.append(asked.url) if running.address not in asked.url else None
        )
        page.goto(f"{running.address}/#{running.token}")
        expect = driver.expect
        expect(page.locator("#how")).to_have_text("private · plan fss", timeout=HANG_S * 1000)
        assert running.token not in page.url
        page.fill("#text", QUESTION)
        page.press("#text", "Enter")
        answer = expected(running.folder, [{"role": "user", "content": QUESTION}])
        expect(page.locator("#seen-says")).to_contain_text("masked", timeout=HANG_S * 1000)
        assert page.locator("li.assistant span").inner_text().strip() == answer.strip()
        assert int(page.locator("#rounds").text_content().replace(",", "")) > 0
        grey = page.locator("#seen").evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, 64, 64).data].filter((_, at) => at % 4 === 0)"
        )
        assert len(set(grey)) > 200  # of 256: as bytes under a mask are
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.locator("html").get_attribute("data-theme") == scheme
        browser.close()
    assert troubles == []
    assert all(url.startswith(running.address) for url in asked_for)


@pytest.mark.slow
def test_ctrl_c_ends_the_answer_at_hand_and_prints_the_bill(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mpcinfer", "proxy", "--local", "private", "--model", "tiny-python"]
    command += ["--port", "0", "--token-file", str(tmp_path / "token")]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    address = next(found[1] for line in process.stderr if (found := re.search(r"at (http\S+)/v1", line)))
    token = (tmp_path / "token").read_text().strip()
    client = openai.OpenAI(base_url=f"{address}/v1", api_key=token, timeout=HANG_S, max_retries=0)
    stream = client.completions.create(model="tiny-python", prompt="import", max_tokens=250, stream=True)
    pieces = iter(stream)
    for _ in range(3):
        next(pieces)
    process.send_signal(signal.SIGINT)
    with pytest.raises(openai.APIError, match="the answer was ended"):
        assert len(list(pieces)) < 240
    _, rest = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert "exactly as billed" in " ".join(rest.split()), rest
