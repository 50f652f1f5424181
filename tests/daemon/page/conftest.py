"""A shop with its status page on a real port, and a real browser that looks at it; skipped where no browser is."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge_agent.daemon.web.app import make_app
from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.serve import LocalServer
from ho_stub import seed

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-lcd-text",  # grey edges: the pictures stay small
]
TILL_SCREEN = {"width": 1024, "height": 768}
WAIT_MS = 8_000


@dataclass
class Shop:
    """A till with its daemon's page."""

    till: Any
    keys: Keys
    server: LocalServer
    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def link(self) -> str:
        return f"{self.address}#key={self.keys.page_key()}"

    def sync(self) -> Any:
        """A sync as the daemon's loop runs it when it is asked: listeners hear of it."""
        tell = self.till.agent._news.tell
        tell("sync began", {})
        report = self.till.agent.sync(
            progress=lambda step, done, total: tell(
                "sync progress", {"step": step, "done": str(done), "total": str(total or "")}
            )
        )
        worst = next(iter(report.errors), None)
        tell("sync ended", {"code": worst.code, "message": worst.message} if worst else {})
        return report

    def serve_again(self) -> None:
        """The daemon comes back on the same port."""
        self.server = _serve(self.till, self.keys, self.port, self.asked)


def _serve(till: Any, keys: Keys, port: int, asked: list[str]) -> LocalServer:
    server = LocalServer(make_app(till.agent, keys, port=port, sync_now=lambda: asked.append("sync")), port=port)
    server.start()
    return server


@pytest.fixture
def make_shop(make_till: Callable[..., Any], make_office: Callable[..., Any]) -> Iterator[Callable[..., Shop]]:
    """Makes shops: a head office, a till in sync with it, and its page; ``make_shop(products=…, **parts)``."""
    with contextlib.ExitStack() as stack:

        def make(*, name: str = "till", synced: bool = True, **parts: Any) -> Shop:
            data = dataclasses.replace(seed.tiny(), **parts) if parts else seed.tiny()
            till = make_till(make_office(data=data), name=name, synced=synced)
            keys = Keys.of_home(till.agent.home)
            asked: list[str] = []
            server = _serve(till, keys, 0, asked)
            shop = Shop(till, keys, server, server.port, asked)
            stack.callback(lambda: shop.server.stop(2))
            return shop

        yield make


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """The tiny shop, in sync."""
    return make_shop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless browser of this machine; none is ever downloaded."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install Debian's package chromium to run these")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


@dataclass
class Screen:
    """A browser's window at a page, with all that it asked for and complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def sees(self, selector: str, words: str) -> None:
        """Waits until an element shows some words."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_contain_text(words, timeout=WAIT_MS)

    @property
    def level(self) -> str:
        return str(self.page.get_attribute("#verdict", "data-level"))


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Screen]]:
    """Opens windows: ``look(address, viewport=…, **how)``; ``how`` as playwright's ``new_context`` takes it."""
    contexts = []

    def open_one(address: str, **how: Any) -> Screen:
        context = browser.new_context(**{"viewport": TILL_SCREEN, "locale": "en-GB", **how})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        screen = Screen(page)
        page.on("request", lambda request: screen.requests.append(request.url))
        page.on(
            "console",
            lambda message: screen.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: screen.complaints.append(str(error)))
        page.goto(address)
        return screen

    yield open_one
    for context in contexts:
        context.close()
