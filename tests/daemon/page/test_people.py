"""Whoever stands before the page can use it: by keyboard, on small screens, by day and night, in their language."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_agent.domain.findings import KINDS, SEVERITIES

PAGES = Path(__file__).parents[3] / "edge_agent/daemon/pages"
LANGUAGES = sorted(path.stem for path in (PAGES / "texts").glob("*.json"))
TOUCH_MIN_PX = 44
AA_TEXT = 4.5
AA_SHAPES = 3.0
# Ground, and what stands on it.
ON = {
    "ground": ("text", "muted", "accent"),
    "surface": ("text", "muted", "accent", "look", "bad", "unknown"),
    "accent": ("on-accent",),
    **{f"{level}-ground": (level, "text") for level in ("good", "look", "bad", "unknown")},
}
SHAPES = {"surface": ("edge",), "ground": ("edge",)}


def texts(language: str) -> dict[str, Any]:
    return dict(json.loads((PAGES / f"texts/{language}.json").read_text("utf-8")))


def forms(text: Any) -> list[str]:
    return list(text.values()) if isinstance(text, dict) else [text]


def placeholders(text: Any) -> set[str]:
    return {name for form in forms(text) for name in re.findall(r"\{(\w+)\}", form)}


# ---- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same(language: str) -> None:
    """Each language has every text of English, with the same values in it, and plural forms where it counts."""
    english, own = texts("en"), texts(language)
    assert list(own) == list(english)
    assert {key for key in own if placeholders(own[key]) != placeholders(english[key])} == set()
    assert {key for key, text in own.items() if isinstance(text, dict) != isinstance(english[key], dict)} == set()
    assert all("other" in text for text in own.values() if isinstance(text, dict))
    assert all(form.strip() for text in own.values() for form in forms(text))


def test_every_text_is_used_and_there() -> None:
    """What the page asks for is in the texts, and no text lies there unused."""
    code = (PAGES / "page.js").read_text("utf-8") + (PAGES / "index.html").read_text("utf-8")
    there = set(texts("en"))
    asked = set(re.findall(r'\bt\("([^"]+)"', code)) | set(re.findall(r'data-text="([^"]+)"', code))
    assert asked - there == set()
    quoted = set(re.findall(r'"([a-z_]+\.[a-z_.]+)"', code))
    built = [*re.findall(r"[`(\"]([a-z_]+(?:\.[a-z_]+)*\.)\$\{", code), "age.", "error."]
    quoted |= {f"{part}.title" for part in re.findall(r'\bhead\("([a-z]+)"', code)}
    unused = {key for key in there - asked - quoted if not key.startswith(tuple(built))}
    assert unused == set()


def test_every_kind_of_finding_has_its_words() -> None:
    """What a validation may find is told in the shop's language, and what to do about it."""
    there = set(texts("en"))
    assert {f"finding.{kind}" for kind in KINDS} | {f"finding.{kind}.do" for kind in KINDS} <= there
    assert {f"severity.{severity}" for severity in SEVERITIES} <= there


def test_every_incident_has_its_words() -> None:
    """Every incident that the agent may raise is told in the shop's language."""
    from edge_agent import nightly
    from edge_agent.storage import ballast, ledger, salvage

    kinds = {nightly.INCIDENT, *nightly.OVER, ballast.INCIDENT, ledger.NOT_COMPARED, salvage.INCIDENT}
    code = "".join(path.read_text("utf-8") for path in (PAGES.parents[1] / "sync").glob("*.py"))
    kinds |= set(re.findall(r'ledger\.tell\(\s*"([^"]+)"', code))
    assert {f"incident.{kind}" for kind in kinds} - set(texts("en")) == set()


def test_no_words_stand_in_the_code() -> None:
    """All that people read is in texts/: the page's shape has none but languages' own names, and its code none."""
    html = re.sub(r"<!--.*?-->|<option.*?</option>|<title>.*?</title>", "", (PAGES / "index.html").read_text("utf-8"))
    assert re.findall(r">\s*([^<\s][^<]*)<", html) == []
    assert re.findall(r'\b(?:title|alt|placeholder|aria-label)="', html) == []
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", (PAGES / "page.js").read_text("utf-8"), flags=re.DOTALL)
    literals = re.findall(r'"([^"\n]*)"|`([^`]*)`', code)
    events = {"sync began", "sync progress", "sync ended", "sync failed", "clock skew"}
    events |= {"#language option", "edge-agent page"}
    events |= {key.removeprefix("incident.") for key in texts("en") if key.startswith("incident.")}
    said = {text for pair in literals for text in pair if re.search(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}", text)}
    assert said - events == set()


# ---- colours -------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def palettes() -> dict[str, dict[str, str]]:
    """The colours of light, of dark by the system, and of dark by the switch."""
    css = (PAGES / "page.css").read_text("utf-8")
    blocks = re.findall(r"(:root[^{]*)\{(.*?)\}", css, re.DOTALL)
    return {name.strip(): dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", body)) for name, body in blocks}


def test_colours_can_be_told_apart() -> None:
    """Every text has the contrast of WCAG AA on what it stands on, by day and by night."""
    found = palettes()
    assert len(found) == 3
    for name, colours in found.items():
        for pairs, least in ((ON, AA_TEXT), (SHAPES, AA_SHAPES)):
            low = {
                (ground, text): round(contrast(colours[ground], colours[text]), 2)
                for ground, on in pairs.items()
                for text in on
                if contrast(colours[ground], colours[text]) < least
            }
            assert low == {}, name


def test_both_ways_to_the_night_look_the_same() -> None:
    """Dark by the system and dark by the switch have the same colours."""
    _, by_system, by_switch = palettes().values()
    assert by_system == by_switch


# ---- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture
def busy_shop(shop: Any) -> Any:
    """A shop with something in every part of the page."""
    till = shop.till
    till.clock.shift_s = -7_200.0
    till.sell(quantity="45", price="1234567.00")
    till.clock.shift_s = 0.0
    till.sell(till.nobody, receipt_number="S01-T02-000042")
    till.office.world.edit("products", till.water, price=None)
    shop.sync()
    till.agent.health()
    till.sell()
    return shop


@pytest.mark.parametrize("size", [(1024, 768), (800, 600), (360, 740)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("language", ["en-GB", "id-ID"])
def test_it_fits_every_screen(browser: Any, busy_shop: Any, look: Any, size: tuple[int, int], language: str) -> None:
    """Nothing sticks out sideways, the verdict is there without scrolling, and a finger hits every button."""
    screen = look(busy_shop.link, viewport={"width": size[0], "height": size[1]}, locale=language)
    screen.sees("#quarantined", "S01-T02-000042")
    page = screen.page
    wide = "[...document.querySelectorAll('body *')].filter((a) => a.getBoundingClientRect().right > innerWidth + 1)"
    assert page.evaluate(f"{wide}.map((one) => one.outerHTML.slice(0, 120))") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.locator("#verdict-words").bounding_box()["y"] < size[1]
    for button in page.locator("button:visible, select:visible").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= TOUCH_MIN_PX
    sizes = page.evaluate(
        "[...document.querySelectorAll('p, td, dd, h2')].map((one) => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 15
    assert screen.complaints == []


def test_the_keyboard_is_enough(browser: Any, busy_shop: Any, look: Any) -> None:
    """Tab goes through everything in order and shows where it is; keys with Alt do what the foot of the page says."""
    screen = look(busy_shop.link)
    screen.sees("#quarantined", "Try again")
    page = screen.page
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached[:4] == ["skip", "language", "theme", "sync"]
    assert page.evaluate("document.activeElement.textContent") == "Try again"
    page.keyboard.press("Enter")
    screen.sees("#step", "1 entry goes up again")
    page.wait_for_function("document.activeElement.id === 'sync'")
    page.keyboard.press("Alt+t")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.keyboard.press("Alt+l")
    screen.sees("#verdict-title", "Penjualan")
    page.keyboard.press("s")
    assert busy_shop.asked == []
    page.keyboard.press("Alt+s")
    screen.sees("#sync", "Menyinkronkan")
    assert busy_shop.asked == ["sync"]


def test_a_focus_stays_while_the_page_lives(browser: Any, busy_shop: Any, look: Any) -> None:
    """When the page draws a part anew, whoever was at a button there still is."""
    till = busy_shop.till
    screen = look(busy_shop.link)
    screen.page.locator("#quarantined button").focus()
    till.sell(till.nobody, receipt_number="S01-T02-000077")
    busy_shop.sync()
    screen.sees("#quarantined", "S01-T02-000077")
    assert screen.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Try again: Sale S01-T02-000042"


def test_day_and_night(browser: Any, shop: Any, look: Any) -> None:
    """The page follows the system's night, the switch overrides it, and it is remembered."""
    screen = look(shop.link, color_scheme="dark")
    screen.sees("#theme", "Light")
    ground = "getComputedStyle(document.body).backgroundColor"
    night = screen.page.evaluate(ground)
    screen.page.click("#theme")
    assert screen.page.evaluate(ground) != night
    screen.page.reload()
    screen.sees("#theme", "Dark")
    assert screen.page.evaluate(ground) != night


def test_indonesian(browser: Any, shop: Any, look: Any) -> None:
    """An Indonesian browser gets Indonesian, also for numbers; the switch changes it, and it is remembered."""
    shop.till.sell(quantity="3")
    screen = look(shop.link, locale="id-ID")
    screen.sees("#verdict-title", "Penjualan aman")
    screen.sees("#facts", "Rp 22.500")
    assert screen.page.get_attribute("html", "lang") == "id"
    screen.page.select_option("#language", "en")
    screen.sees("#verdict-title", "Selling is safe")
    screen.page.reload()
    screen.sees("#verdict-title", "Selling is safe")


def test_a_screen_reader_finds_its_way(browser: Any, busy_shop: Any, look: Any) -> None:
    """Landmarks, one first heading, named regions, and a polite voice for what changes."""
    screen = look(busy_shop.link)
    screen.sees("#quarantined", "Try again")
    page = screen.page
    assert [page.locator(name).count() for name in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    assert page.get_attribute("#told", "aria-live") == "polite"
    for section in page.locator("section:visible").all():
        title = page.locator(f"#{section.get_attribute('aria-labelledby')}")
        assert title.count() == 1
        assert title.text_content().strip()
    assert page.locator("table th[scope]").count() >= 5


def test_stillness_is_respected(browser: Any, shop: Any, look: Any) -> None:
    """Who asked the system for less motion gets none."""
    screen = look(shop.link, reduced_motion="reduce")
    screen.sees("#verdict-title", "Selling")
    screen.page.click("#sync")
    assert screen.page.evaluate("getComputedStyle(document.getElementById('progress')).animationName") == "none"
