"""The daemon's log tells each thing once, keeps no secret, stays small, and never stops the shop."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.daemon import logs as logs_module
from edge_agent.daemon.logs import FILES_KEPT, KINDS_MAX, Logs, configure
from edge_agent.settings import load_settings

log = logging.getLogger("edge_agent")
Make = Callable[..., Logs]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def begin(home: Path, clock: Any) -> Iterator[Make]:
    begun: list[Logs] = []

    def begin_one(**more: Any) -> Logs:
        arguments = {"stderr": io.StringIO(), "environment": {}, **more}
        begun.append(configure(home, load_settings(home), clock=clock, **arguments))
        return begun[-1]

    yield begin_one
    for one in begun:
        one.close()


@pytest.fixture
def lines(home: Path) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        path = home / "logs" / "edge-agent.log"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    return read


def test_a_line_is_a_json_object_with_its_fields(begin: Make, lines: Any) -> None:
    """Time in UTC, level, logger, message, device, version, and what the caller adds."""
    begin()
    log.warning("the line is %s", "down", extra={"attempt": 3})
    [line] = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "edge_agent",
        "message": "the line is down",
        "device": "pos-02",
        "version": logs_module.__version__,
        "attempt": 3,
    }


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_only_the_owner_can_read_it(begin: Make, home: Path) -> None:
    """The file is 0600, its folder 0700."""
    begin()
    log.warning("x")
    assert stat.S_IMODE((home / "logs" / "edge-agent.log").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "logs").stat().st_mode) == 0o700


def test_no_secret_gets_in(begin: Make, home: Path) -> None:
    """Not by message, arguments, extras or an exception; a token that comes while it runs is known as well."""
    (home / "credentials.json").write_text('{"password": "correct horse 7"}')
    began = begin()
    try:
        raise ValueError("sent correct horse 7 and 4111 1111 1111 1111")
    except ValueError:
        log.exception("failed with %s", {"Authorization": "Bearer abc.def"}, extra={"body": ["correct horse 7"]})
    (home / "tokens.json").write_text('{"access": "opaque-and-new"}')
    began._censor._until = float("-inf")
    log.warning("the token opaque-and-new is here")
    text = (home / "logs" / "edge-agent.log").read_text()
    for secret in ("correct horse", "4111", "abc.def", "opaque-and-new"):
        assert secret not in text
    assert "ValueError: sent *** and [card number]" in text


def test_what_repeats_is_told_once(begin: Make, clock: Any, lines: Any) -> None:
    """The first is written, the others within a minute are counted, and told when the minute is over."""
    begin()
    for attempt in range(500):
        log.warning("attempt %d failed", attempt)
    assert [line["message"] for line in lines()] == ["attempt 0 failed"]
    clock.advance(61)
    log.warning("something else")
    told = lines()[1:]
    assert [line["message"] for line in told] == [
        "attempt 499 failed (repeated 499 times within 60 s)",
        "something else",
    ]
    assert told[0]["repeated"] == 499
    log.warning("attempt %d failed", 501)
    assert lines()[-1]["message"] == "attempt 501 failed"


def test_an_error_of_another_kind_is_never_hidden(begin: Make, lines: Any) -> None:
    """Another text, another level, another exception: each is told."""
    begin()
    for words in ("pull", "sales", "usages"):
        for _ in range(3):
            log.error("%s failed", words)
    log.warning("%s failed", "pull")
    for kind in (KeyError, ValueError, KeyError):
        try:
            raise kind("x")
        except (KeyError, ValueError):
            log.exception("a bug")
    messages = [(line["level"], line["message"]) for line in lines()]
    assert messages == [
        ("error", "pull failed"),
        ("error", "sales failed"),
        ("error", "usages failed"),
        ("warning", "pull failed"),
        ("error", "a bug"),
        ("error", "a bug"),
    ]


def test_memory_stays_bounded(begin: Make, lines: Any) -> None:
    """Ten thousand kinds of records cost as much memory as a few hundred; a storm of other words is cut too."""
    began = begin()
    for number in range(10_000):
        log.warning("word " + chr(97 + number % 26) * (number // 26 % 90 + 1))
        log.error("refused: %s", "y" * (number % 150))
    assert len(began._repeats._kinds) <= KINDS_MAX
    assert len(began._repeats._looks) <= KINDS_MAX
    assert len([line for line in lines() if line["level"] == "error" and "repeated" not in line]) <= 25


def test_the_file_stays_small(begin: Make, home: Path, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old files are let go; nothing grows without end."""
    monkeypatch.setattr(logs_module, "FILE_BYTES_MAX", 20_000)
    begin()
    for number in range(600):
        clock.advance(61)
        log.warning("%s %d", "x" * 300, number)
    files = list((home / "logs").iterdir())
    assert len(files) == FILES_KEPT + 1
    assert all(file.stat().st_size <= 20_500 for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files) or os.name != "posix"


def test_a_huge_message_is_cut(begin: Make, lines: Any) -> None:
    """One record can't fill a disk."""
    begin()
    log.warning("x" * 1_000_000)
    assert len(lines()[0]["message"]) < 5_000


def test_a_full_disk_stops_nobody_and_is_told(
    begin: Make, clock: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that can't be written are dropped, counted, and told of when there is room again."""
    began = begin()
    log.warning("before")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(logs_module._File, "_json", full)
        for words in ("a", "b", "c"):
            log.error(words)
        assert began.lost == 3
    log.error("after")
    assert [line["message"] for line in lines()] == ["before", "3 lines of this log could not be written", "after"]


def test_a_full_disk_does_not_silence_the_terminal(begin: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever watches sees what the file can't take."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logs_module._File, "_json", full)
    screen = Terminal()
    begin(stderr=screen)
    log.error("a")
    assert "error: a" in screen.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_a_really_full_device_stops_nobody(begin: Make, home: Path) -> None:
    """What the system itself refuses is no error of whoever logs."""
    (home / "logs").mkdir()
    (home / "logs" / "edge-agent.log").symlink_to("/dev/full")
    began = begin()
    for words in ("a", "b", "c"):
        log.error(words)
    assert began.lost == 3


def test_a_folder_that_cant_be_made_stops_nobody(begin: Make, home: Path) -> None:
    """A file stands where the folder should be."""
    (home / "logs").write_text("in the way")
    began = begin()
    log.error("a")
    assert began.lost == 1


def test_arguments_that_dont_fit_stop_nobody(begin: Make, lines: Any) -> None:
    """A mistake in a logging call is told, not raised."""

    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    began = begin()
    wrong: Any = {"name": "edge_agent", "levelno": logging.WARNING}  # pytest's own handler would raise
    began.handle(logging.makeLogRecord({**wrong, "msg": "%d and %d", "args": ("x",)}))
    assert "%d and %d" in lines()[0]["message"]
    began.handle(logging.makeLogRecord({**wrong, "msg": "%s", "args": (Rude(),)}))
    assert began.lost == 1


def test_under_systemd_lines_have_a_priority_and_no_time(begin: Make, home: Path, tmp_path: Path) -> None:
    """The journal knows the time; no file is written beside it."""
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        begin(stderr=stream, environment={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        log.info("began")
        log.error("two\nlines", extra={"n": 1})
        stream.seek(0)
        assert stream.read() == "<6>began\n<3>two·lines n=1\n"
    assert not (home / "logs").exists()


def test_what_others_write_passes_for_no_line_of_ours(begin: Make, tmp_path: Path) -> None:
    """Head office's words, a till's, or those of a fault may hold line breaks: nobody forges an entry with them."""
    forged = "x\n<2>all sales were deleted"
    screen = Terminal()
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        systemds = begin(stderr=stream, environment={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        try:
            raise ValueError(forged)
        except ValueError:
            log.exception("head office says %s", forged, extra={"said": forged})
        systemds.close()
        stream.seek(0)
        assert all(line.startswith("<3>") for line in stream)
    begin(stderr=screen)
    log.warning("head office says %s", forged)
    assert len(screen.getvalue().splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows has neither")
@pytest.mark.parametrize("planted", ["link", "pipe"])
def test_nothing_planted_leads_it_astray(begin: Make, home: Path, planted: str) -> None:
    """In a home that a group shares, the log neither writes through a link nor waits for whoever reads a pipe."""
    (home / "logs").mkdir()
    precious, file = home / "precious", home / "logs" / "edge-agent.log"
    precious.write_text("sales")
    if planted == "link":
        file.symlink_to(precious)
    else:
        os.mkfifo(file)
    began = begin()
    log.error("a")
    assert precious.read_text() == "sales"
    assert began.lost == 1


def test_a_thread_that_dies_is_told(begin: Make, lines: Any) -> None:
    """By its name and why: a service may have no stderr, and nothing ends in silence (G11)."""
    before = threading.excepthook
    began = begin()

    def die() -> None:
        raise LookupError("on purpose")

    thread = threading.Thread(target=die, name="edge-agent-watch")
    thread.start()
    thread.join()
    [line] = lines()
    assert (line["level"], line["message"]) == ("critical", "the thread edge-agent-watch ended")
    assert "on purpose" in line["exception"]
    began.close()
    assert threading.excepthook is before


def test_another_programs_journal_is_not_ours(begin: Make, lines: Any, tmp_path: Path) -> None:
    """A variable inherited from a service that started a terminal means nothing."""
    with (tmp_path / "file").open("w+") as stream:
        begin(stderr=stream, environment={"JOURNAL_STREAM": "1:2"})
        log.warning("x")
        assert len(lines()) == 1


def test_at_a_terminal_short_lines_for_people(begin: Make, lines: Any) -> None:
    """Time of day and words; what would steer a terminal is made harmless, and no console's letters make it fail."""

    class Old(Terminal):
        encoding = "cp1252"  # type: ignore[assignment]

    screen = Old()
    begin(stderr=screen)
    log.warning("no \u001b[31mred \u2713")
    assert screen.getvalue()[8:] == " warning: no \u00b7[31mred ?\n"
    assert len(lines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="makes a terminal as POSIX does")
@pytest.mark.parametrize("kind", ["terminal", "journal"])
def test_a_stream_that_stands_still_stops_nobody(
    begin: Make, clock: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A console in which somebody has marked text, a terminal after Ctrl-S, a journal that hangs: whoever logs goes on,
    also at the end, and so does the file."""
    import pty

    monkeypatch.setattr(logs_module, "STREAM_CLOSE_S", 0.05)
    monkeypatch.setattr(logs_module, "STREAM_LINES_MAX", 8)
    theirs, ours = pty.openpty()
    try:
        with os.fdopen(ours, "w", encoding="utf-8") as stream:
            found = os.fstat(ours)
            named = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"} if kind == "journal" else {}
            began = begin(stderr=stream, environment=named)
            for _ in range(100):
                clock.advance(61)
                log.warning("x" * 1_000)
            assert began.lost > 0
            began.close()
    finally:
        os.close(theirs)


@pytest.mark.skipif(os.name != "posix", reason="makes a terminal as POSIX does")
def test_a_terminal_is_written_to(begin: Make) -> None:
    """What whoever watches sees: each line, whole."""
    import pty

    theirs, ours = pty.openpty()
    try:
        with os.fdopen(ours, "w", encoding="utf-8") as stream:
            began = begin(stderr=stream)
            log.warning("one ✓")
            log.error("two")
            began.close()
            seen = b""
            while seen.count(b"\n") < 2:  # a terminal gives what it has, in as many parts as it likes
                seen += os.read(theirs, 4_096)
        assert [line[9:] for line in seen.decode().splitlines()] == ["warning: one ✓", "error: two"]
    finally:
        os.close(theirs)


def test_other_libraries_are_quiet(begin: Make, lines: Any) -> None:
    """httpx, uvicorn and apscheduler tell addresses and jobs at INFO: none of it is kept, warnings of the others are;
    of apscheduler only errors, since the watchdog tells of jobs that run too long."""
    before = {name: logging.getLogger(name).level for name in ("", "httpx", "uvicorn", "edge_agent")}
    began = begin()
    for name in ("httpx", "uvicorn.error", "apscheduler.scheduler", "somebody.else"):
        logging.getLogger(name).info("GET https://ho.example.com/?token=abc")
        logging.getLogger(name).warning("%s warns", name)
    logging.getLogger("apscheduler.scheduler").error("a job failed")
    log.info("we tell")
    assert len(lines()) == 5
    began.close()
    assert {name: logging.getLogger(name).level for name in before} == before
