"""The pages in a real browser: the preview follows the form, nothing is loaded from elsewhere, keys suffice."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ho_stub.testing import HeadOffice

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-lcd-text",
]
IMAGES = Path(__file__).parents[3] / "docs" / "images"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@pytest.fixture
def screen(office: HeadOffice) -> Iterator[Any]:
    """A browser's page of somebody of the office; whatever goes wrong in it fails the test."""
    sync_api = pytest.importorskip("playwright.sync_api")
    office.world.set_today(date(2026, 11, 21))
    faults: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith(office.url) else faults.append(asked.url))
        page.goto(f"{office.url}/promotions/settings/")
        page.keyboard.type("office")  # the first field has the focus
        page.keyboard.press("Tab")
        page.keyboard.type("office-demo")
        page.keyboard.press("Enter")
        page.wait_for_selector("#preview .count")
        yield page
        browser.close()
    assert [fault for fault in faults if not fault.startswith("data:")] == []


def test_the_preview_follows_the_form_and_a_save_keeps_it(screen: Any, office: HeadOffice) -> None:
    """Typing counts anew without a click and saves nothing; saving by Enter does."""
    world = office.world
    for number, day in enumerate(("2026-12-10", "2026-12-20", "2027-01-10")):
        world.upsert("promotions", {"id": str(uuid.UUID(int=number)), "name": day, "validity": {"start_date": day}})
    count = screen.locator("#preview .count strong")

    def counted(expected: str) -> None:
        shows = "n => document.querySelector('#preview .count strong')?.innerText === n"
        screen.wait_for_function(shows, arg=expected)

    assert count.inner_text() == "1"
    for days, expected in (("30", "3"), ("60", "4"), ("91", None), ("0", "1")):
        screen.fill("[name=future_days]", days)
        if expected is None:
            screen.wait_for_selector("#preview .notice.bad")
        else:
            counted(expected)
    assert world.settings()["future_days"] == 7
    screen.check("[value=all_active]")
    counted("4")
    screen.press("[name=future_days]", "Enter")
    screen.wait_for_url("**/promotions/settings/?saved=1")
    assert (world.settings()["sync_strategy"], world.settings()["future_days"]) == ("all_active", 0)
    screen.click("text=Sign out")
    screen.wait_for_selector("[name=password]")
    screen.go_back()  # nothing of it is kept
    screen.wait_for_selector("[name=password]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_small_screen(screen: Any, scheme: str) -> None:
    screen.emulate_media(color_scheme=scheme)
    screen.set_viewport_size({"width": 390, "height": 800})
    for path in ("/", "/promotions/settings/"):
        screen.goto(f"{screen.url.split('/promotions')[0].rstrip('/')}{path}")
        assert screen.evaluate("document.documentElement.scrollWidth") <= 390, path
