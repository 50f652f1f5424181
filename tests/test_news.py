"""Whoever listens to news keeps nobody else waiting."""

from __future__ import annotations

import threading

import pytest

from edge_agent.news import Event, News


def test_a_listener_that_waits_for_who_closes_keeps_it_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A till's screen is drawn by the thread that closes the agent: a listener that waits for it must not hang both."""
    monkeypatch.setattr("edge_agent.news.CLOSE_DEADLINE_S", 0.05)
    news, closed = News(), threading.Event()
    heard = threading.Event()

    def draw(_event: Event) -> None:
        heard.set()
        closed.wait(20)

    news.subscribe(draw)
    news.tell("catalogue changed", {})
    assert heard.wait(10)
    news.close()
    closed.set()


def test_a_listener_may_close() -> None:
    """A program that ends itself on an event does so in the listener's own thread."""
    news, ended = News(), threading.Event()

    def end(_event: Event) -> None:
        news.close()
        ended.set()

    news.subscribe(end)
    news.tell("sale created", {})
    assert ended.wait(10)


def test_what_was_told_before_the_end_is_heard() -> None:
    """Closing tells what is still to be told."""
    news, heard = News(), list[str]()
    news.subscribe(lambda event: heard.append(event.name))
    for number in range(100):
        news.tell(str(number), {})
    news.close()
    assert heard == [str(number) for number in range(100)]
