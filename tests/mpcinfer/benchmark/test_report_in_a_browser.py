"""The page as a real Chromium without a network shows it."""

from __future__ import annotations

import csv
import math
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from mpcinfer.benchmark.network import NETWORKS, Network
from mpcinfer.benchmark.report.report import write_report
from mpcinfer.benchmark.report.rows import ReportRow, modelled_seconds, ours, report_rows
from tests.deadlines import HANG_S
from tests.mpcinfer.benchmark import report_records as made

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'mpcinfer[dev]'")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium: install one (Debian's package is `chromium`) or set CHROMIUM"
    ),
]
READY = "document.documentElement.dataset.ready"
PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    *records, published = made.write(folder)
    return write_report(records, folder / "out", title="A report", published=published, pictures=False)[0]


@pytest.fixture(scope="module")
def browser() -> Generator[Any]:
    with playwright.sync_playwright() as driver:
        # Its sandbox needs rights that containers do not give; the page is our own file.
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Opened:
    """The page, and what it asked for or complained of."""

    def __init__(self, browser: Any, file: Path, size: tuple[int, int], scheme: str = "light") -> None:
        width, height = size
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            offline=True,
            accept_downloads=True,
        )
        self.context.set_default_timeout(1000 * HANG_S)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._requested)
        self.page.goto(file.as_uri())
        self.page.wait_for_function(READY)

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(request.url)

    def column(self, table: str, key: str, *, values: bool = False) -> list[str]:
        """What a table's column shows, row by row, or the numbers behind it."""
        wanted = "cell.dataset.value" if values else "cell.textContent.trim()"
        return self.page.evaluate(
            f"""([table, key]) => {{
                const section = document.getElementById(table);
                const heads = [...section.querySelectorAll("th")];
                const index = heads.findIndex((head) => head.dataset.key === key);
                const rows = [...section.querySelectorAll("tbody tr")].filter((row) => !row.hidden);
                return rows.map((row) => row.cells[index]).map((cell) => {wanted});
            }}""",
            [table, key],
        )

    def modelled(self) -> dict[int, float]:
        """Modelled seconds by the number of their row."""
        found = self.page.evaluate(
            """() => [...document.querySelectorAll("[data-modelled]")].map(
                (cell) => [Number(cell.dataset.modelled), Number(cell.dataset.value)])"""
        )
        return dict(map(tuple, found))

    def settle(self) -> None:
        """Until what was asked for is drawn."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )


@pytest.fixture(scope="module")
def opened(browser: Any, page_file: Path) -> Generator[Opened]:
    shown = Opened(browser, page_file, DESKTOP)
    yield shown
    assert shown.complaints == []
    shown.context.close()


@pytest.fixture(scope="module")
def rows() -> list[ReportRow]:
    return ours(report_rows(made.records()))


def test_every_record_is_a_row(opened: Opened, rows: list[ReportRow]) -> None:
    shown = opened.column("runs", "online_bytes_to_server", values=True)
    assert list(map(int, shown)) == [row.total.online_bytes_to_server for row in rows]
    assert opened.column("runs", "variant") == [row.label for row in rows]
    assert opened.column("peers", "system") == ["Peer"]
    assert opened.column("published", "work") == ["A paper"]
    assert opened.column("failed", "failed") == ["it does <not> fit"]


def test_every_figure_is_drawn(opened: Opened) -> None:
    drawn = opened.page.evaluate(
        """() => [...document.querySelectorAll("[data-figure]")].map((figure) => [figure.dataset.figure,
            figure.querySelectorAll("svg .mark-rect path, svg .mark-symbol path").length])"""
    )
    assert len(drawn) == 8
    assert all(count > 6 for _, count in drawn), drawn


def test_a_click_sorts_and_another_turns_it_around(opened: Opened, rows: list[ReportRow]) -> None:
    head = opened.page.locator('#runs th[data-key="online_bytes_to_client"] button')
    expected = sorted(row.total.online_bytes_to_client for row in rows)
    head.click()
    assert list(map(int, opened.column("runs", "online_bytes_to_client", values=True))) == expected
    head.click()
    assert list(map(int, opened.column("runs", "online_bytes_to_client", values=True))) == expected[::-1]
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    opened.page.locator('#runs th[data-key="variant"] button').click()
    assert opened.column("runs", "variant") == sorted(row.label for row in rows)


def test_rows_without_a_value_come_last_either_way(opened: Opened) -> None:
    head = opened.page.locator('#runs th[data-key="loopback_s"] button')
    for _ in range(2):
        head.click()
        assert opened.column("runs", "loopback_s")[:2] == ["0.600", ""]


def test_words_filter_rows_and_csv_has_what_is_left(opened: Opened, rows: list[ReportRow]) -> None:
    opened.page.fill("#runs input", "SM+LN+R crypten 16")
    left = [
        row for row in rows if (row.label, row.record.plan, row.record.tokens) == ("SM+LN+R", "crypten", 16)
    ]
    assert opened.column("runs", "rounds", values=True) == [str(row.total.rounds) for row in left]
    assert opened.page.inner_text("#runs .count") == f"{len(left)} of {len(rows)} rows"
    with opened.page.expect_download() as download:
        opened.page.click("#runs .csv")
    [line] = csv.DictReader(download.value.path().read_text().splitlines())
    assert line["online_bytes_to_server"] == str(left[0].total.online_bytes_to_server)
    opened.page.fill("#runs input", "")


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_named_network_gives_the_models_seconds(opened: Opened, rows: list[ReportRow], name: str) -> None:
    opened.page.click(f'[data-network="{name}"]')
    opened.settle()
    assert opened.page.get_attribute(f'[data-network="{name}"]', "aria-pressed") == "true"
    shown = opened.modelled()
    for row in rows:
        assert math.isclose(shown[row.number], modelled_seconds(row, NETWORKS[name]), abs_tol=1e-12)


def test_the_sliders_change_seconds_as_the_model_does(opened: Opened, rows: list[ReportRow]) -> None:
    before = opened.modelled()
    for slider, place in (("bandwidth", "7.25"), ("latency", "81")):
        opened.page.evaluate(
            """([id, place]) => {
                const slider = document.getElementById(id);
                slider.value = place;
                slider.dispatchEvent(new Event("input"));
            }""",
            [slider, place],
        )
    opened.settle()
    bandwidth, latency = (
        float(opened.page.get_attribute(f"#{name}-said", "data-value")) for name in ("bandwidth", "latency")
    )
    assert math.isclose(bandwidth, 10**7.25)
    assert 0.01 < latency < 0.3
    network = Network(name="here", bandwidth=bandwidth, latency=latency)
    shown = opened.modelled()
    for row in rows:
        assert math.isclose(shown[row.number], modelled_seconds(row, network))
        assert shown[row.number] != before[row.number]
    assert opened.page.inner_text("#bandwidth-said") == "17.8 Mbit/s"


def test_modelled_seconds_without_compute_are_a_bound(opened: Opened, rows: list[ReportRow]) -> None:
    opened.page.click('[data-network="wan-400m"]')
    opened.settle()
    bounds = opened.page.evaluate(
        """() => [...document.querySelectorAll("[data-modelled]")].filter(
            (cell) => cell.textContent.startsWith("≥")).map((cell) => Number(cell.dataset.modelled))"""
    )
    assert sorted(bounds) == [row.number for row in rows if row.compute is None]


def test_the_figure_follows_the_sliders(opened: Opened) -> None:
    def longest() -> float:
        shown = opened.page.locator('[data-figure="live"] svg .role-axis-label text').all_text_contents()
        numbers = [text.replace(",", "") for text in shown if text[0].isdigit()]
        return max(map(float, numbers))

    found: list[float] = []
    for name in ("lan-10g", "wan-100m"):
        opened.page.click(f'[data-network="{name}"]')
        opened.settle()
        found.append(longest())
    assert found[1] > 20 * found[0]


def test_a_figure_shows_what_is_chosen(opened: Opened) -> None:
    figure = opened.page.locator('[data-figure="bytes-by-kind"]')
    select = figure.locator('select[data-choice="tokens"]')
    assert select.locator("option").all_inner_texts() == [str(tokens) for tokens in made.LENGTHS]
    svg = figure.locator("svg").first
    before = svg.inner_html()
    select.select_option("32")
    opened.page.wait_for_function(
        """(before) => document.querySelector('[data-figure="bytes-by-kind"] svg')?.innerHTML !== before""",
        arg=before,
    )


def test_hovering_says_numbers(opened: Opened) -> None:
    bar = opened.page.locator('[data-figure="rounds-by-kind"] svg .mark-rect path').first
    bar.scroll_into_view_if_needed()
    bar.hover()
    opened.page.wait_for_selector("#vg-tooltip-element.visible")
    said = opened.page.inner_text("#vg-tooltip-element")
    assert "rounds" in said
    assert "plan" in said


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_the_system_is_until_told(browser: Any, page_file: Path, scheme: str) -> None:
    shown = Opened(browser, page_file, DESKTOP, scheme)
    other = {"light": "dark", "dark": "light"}[scheme]
    for theme in (scheme, other):
        shown.page.wait_for_function(f"{READY} === '{theme}'")
        ground, label = shown.page.evaluate(
            """() => [document.body, document.querySelector("svg .role-axis-label text")].map((each, i) =>
                getComputedStyle(each)[i ? "fill" : "backgroundColor"].match(/\\d+/g).slice(0, 3)
                    .reduce((sum, part) => sum + Number(part), 0) / 765)"""
        )
        assert (ground < 0.3, label < 0.3) == ((True, False) if theme == "dark" else (False, True))
        shown.page.click("#theme")
    assert shown.complaints == []
    shown.context.close()


def test_nothing_is_wider_than_a_phone(browser: Any, page_file: Path) -> None:
    shown = Opened(browser, page_file, PHONE)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    wide = shown.page.evaluate(
        """() => [...document.querySelectorAll(".drawing svg")].map(
            (svg) => svg.getBoundingClientRect().width)"""
    )
    assert max(wide) <= PHONE[0]
    assert shown.complaints == []
    shown.context.close()


def test_it_prints_whole_and_light(browser: Any, page_file: Path) -> None:
    shown = Opened(browser, page_file, DESKTOP, "dark")
    shown.page.emulate_media(media="print", color_scheme="dark")
    hidden, ground, scrolled = shown.page.evaluate(
        """() => [getComputedStyle(document.getElementById("theme")).display,
            getComputedStyle(document.documentElement).getPropertyValue("--ground").trim(),
            [...document.querySelectorAll(".scroll")].some(
                (each) => each.scrollHeight > each.clientHeight + 1)]"""
    )
    assert (hidden, ground, scrolled) == ("none", "#ffffff", False)
    assert shown.page.pdf(format="A4").startswith(b"%PDF")
    shown.context.close()
