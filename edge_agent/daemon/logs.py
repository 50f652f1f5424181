"""The daemon's log: structured, bounded, without secrets, and quiet about what repeats itself.

Under systemd lines go to the journal, which knows the time; elsewhere into ``logs/edge-agent.log`` as one JSON object a
line, and in short to a terminal if there is one. A log never stops what it tells of: what can't be written is counted,
and told as soon as it can.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import logging.handlers
import os
import queue
import re
import stat
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.redaction import SECRET_FILES, Redactor, secrets_in
from edge_agent.settings import Settings

FOLDER_NAME = "logs"
FILE_NAME = "edge-agent.log"
FILE_BYTES_MAX = 2 * 1024 * 1024
FILES_KEPT = 4  # beside the present one
REPEATS_WITHIN_S = 60.0
KINDS_MAX = 256  # of records that are watched for repeats; the oldest is forgotten, and told
LOOKS_MAX = 20  # of one message with other words in it; more of them within a minute count as repeats
MESSAGE_LENGTH_MAX = 4_000
EXCEPTION_LENGTH_MAX = 16_000
SECRETS_FRESH_S = 10.0
STREAM_LINES_MAX = 256
STREAM_CLOSE_S = 1.0
_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700
# Other libraries log addresses with ids in them at INFO, and each job of a timetable.
_QUIET = ("httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access", "apscheduler", "filelock", "asyncio")
_PRIORITY = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_log = logging.getLogger("edge_agent")
_VARYING = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}|[0-9a-f]{16,}|[0-9]+")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log, censored. ``time_s``: seconds since 1970."""

    time_s: float
    level: int
    logger: str
    message: str
    exception: str | None
    extras: Mapping[str, Any]

    @property
    def level_name(self) -> str:
        return logging.getLevelName(self.level)


def configure(
    home: Path,
    settings: Settings,
    *,
    stderr: TextIO | None = None,
    clock: Clock | None = None,
    level: int = logging.INFO,
    environment: Mapping[str, str] | None = None,
) -> Logs:
    """Send what the agent logs where this device keeps it, until :meth:`Logs.close`.

    Args:
        home: the device's home; holds ``logs`` where there is no systemd journal.
        settings: for the device's name.
        stderr: None for the real one.
        clock: its monotonic time tells how long ago a record came first.
        level: of the agent's own records; of other libraries' only warnings are kept.
        environment: the process's environment; None for the real one.

    Returns:
        The logs. Their ``flush`` is worth a call now and then: it tells what was repeated.
    """
    stream = sys.stderr if stderr is None else stderr
    variables = os.environ if environment is None else environment
    writers: list[Callable[[Line], None]] = []
    if is_systemds(stream, variables):
        writers.append(_Journal(stream))
    else:
        writers.append(_File(home / FOLDER_NAME / FILE_NAME, settings.device_id))
        if _is_terminal(stream):
            writers.append(_Terminal(stream))
    return Logs(writers, _Censor(home, variables, clock or Clock()), clock or Clock(), level)


def is_systemds(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether what is written to a stream goes into systemd's journal."""
    named = environment.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False


# ---- from record to line -----------------------------------------------------------------------------------------


class Logs(logging.Handler):
    """Takes every record of the process. Never raises into whoever logs.

    Args:
        writers: where lines go.
        censor: takes secrets out.
        clock: its monotonic time.
        level: of the agent's own records.
    """

    def __init__(self, writers: list[Callable[[Line], None]], censor: _Censor, clock: Clock, level: int) -> None:
        super().__init__()
        self._writers = writers
        self._censor = censor
        self._repeats = _Repeats(clock.monotonic_s)
        self._lost = [0] * len(writers)
        self._busy = threading.local()
        self._before = {name: logging.getLogger(name).level for name in ("", "edge_agent", *_QUIET)}
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger("edge_agent").setLevel(level)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        # A job that still runs when its time comes again is the watchdog's business, and told there.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        logging.getLogger().addHandler(self)
        self._hook_before = threading.excepthook
        threading.excepthook = _tell_of_a_thread

    @property
    def lost(self) -> int:
        """How many lines could not be written, and have not been told of yet."""
        return max(self._lost)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in."""
        if getattr(self._busy, "now", False):
            return  # a record about writing a record
        self._busy.now = True
        try:
            line = self._line(record)
            for due in self._repeats.take(record, line):
                self._write(due)
        except Exception:  # noqa: BLE001 - whatever is wrong with a log, the shop goes on
            self._lost = [lost + 1 for lost in self._lost]
        finally:
            self._busy.now = False

    def flush(self) -> None:
        """Tell what was repeated and has not been told yet, if its minute is over."""
        self._tell(self._repeats.over)

    def close(self) -> None:
        """Tell what is left, and leave logging as it was."""
        threading.excepthook = self._hook_before
        logging.getLogger().removeHandler(self)
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        self._tell(self._repeats.rest)
        for writer in self._writers:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                writer.close()  # type: ignore[attr-defined]
        super().close()

    def _tell(self, which: Callable[[], list[Line]]) -> None:
        self.acquire()
        try:
            for line in which():
                self._write(line)
        except Exception:  # noqa: BLE001 - as in emit
            self._lost = [lost + 1 for lost in self._lost]
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> Line:
        extras = {name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES}
        return Line(
            record.created,
            record.levelno,
            record.name,
            _cut(self._censor.text(_message(record)), MESSAGE_LENGTH_MAX),
            self._exception(record),
            self._censor.value(extras) if extras else {},
        )

    def _exception(self, record: logging.LogRecord) -> str | None:
        if not record.exc_info or record.exc_info[0] is None:
            return None
        text = "".join(traceback.format_exception(*record.exc_info))
        if len(text) > EXCEPTION_LENGTH_MAX:  # the end tells what it was
            text = "…" + text[-EXCEPTION_LENGTH_MAX:]
        return self._censor.text(text)

    def _write(self, line: Line) -> None:
        for number, writer in enumerate(self._writers):  # a full disk does not silence the terminal
            try:
                if self._lost[number]:
                    writer(_remark(line, f"{self._lost[number]:,} lines of this log could not be written"))
                    self._lost[number] = 0
                writer(line)
            except (OSError, ValueError, UnicodeError):
                self._lost[number] += 1


def _tell_of_a_thread(died: threading.ExceptHookArgs) -> None:
    """A thread that ends by a fault would else be told on stderr alone, which a service may not have (G11)."""
    if died.exc_value is not None and not isinstance(died.exc_value, SystemExit):
        name = died.thread.name if died.thread is not None else "unknown"
        _log.critical("the thread %s ended", name, exc_info=died.exc_value)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args}"  # arguments that don't fit their message


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[:length_max] + "…"


def _remark(line: Line, message: str) -> Line:
    return Line(line.time_s, logging.WARNING, "edge_agent", message, None, {})


class _Censor:
    """The redactor of a home; tokens change while a daemon runs, so its secrets are read again when they do."""

    def __init__(self, home: Path, environment: Mapping[str, str], clock: Clock) -> None:
        self._home = home
        self._environment = environment
        self._monotonic_s = clock.monotonic_s
        self._until = float("-inf")
        self._stamp: object = None
        self._known: set[str] = set()
        self._redactor = Redactor()

    def text(self, text: str) -> str:
        return self._fresh()(text)

    def value(self, value: Any) -> Any:
        return self._fresh().value(value)

    def _fresh(self) -> Redactor:
        if self._monotonic_s() < self._until:
            return self._redactor
        self._until = self._monotonic_s() + SECRETS_FRESH_S
        stamp = [_stamp(self._home / name) for name in SECRET_FILES]
        if stamp != self._stamp:
            self._stamp = stamp
            present = secrets_in(lambda name: (self._home / name).read_bytes(), self._environment)
            self._redactor = Redactor(present | self._known)  # the last ones may still be spoken of
            self._known = present
        return self._redactor


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


# ---- what repeats itself -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Kind:
    until_s: float
    times: int = 0
    last: Line | None = None


class _Repeats:
    """Lets the first record of a kind through and counts the others for a minute."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._kinds: OrderedDict[tuple[object, ...], _Kind] = OrderedDict()
        self._looks: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def take(self, record: logging.LogRecord, line: Line) -> list[Line]:
        """What is to be written now that a record came."""
        due = self.over()
        now = self._monotonic_s()
        key = self._key(record, line, now)
        known = self._kinds.get(key)
        if known is not None:
            known.times += 1
            known.last = line
            return due
        self._kinds[key] = _Kind(now + REPEATS_WITHIN_S)
        if len(self._kinds) > KINDS_MAX:
            due += _told(self._kinds.popitem(last=False)[1])
        return [*due, line]

    def over(self) -> list[Line]:
        """The counts whose minute is over; those kinds begin anew."""
        now, due = self._monotonic_s(), []
        while self._kinds and next(iter(self._kinds.values())).until_s <= now:
            due += _told(self._kinds.popitem(last=False)[1])
        return due

    def rest(self) -> list[Line]:
        """All counts."""
        due = [line for kind in self._kinds.values() for line in _told(kind)]
        self._kinds.clear()
        return due

    def _key(self, record: logging.LogRecord, line: Line, now: float) -> tuple[object, ...]:
        """What makes a record another kind; a warning that says another thing is another one, whatever its template."""
        raised = record.exc_info[0] if record.exc_info else None
        template = (record.name, record.levelno, str(record.msg)[:200] if record.args else "", raised)
        if record.levelno < logging.WARNING and record.args:
            return template
        key = (*template, _VARYING.sub("#", line.message[:200]))
        if key in self._kinds:
            return key
        until, looks = self._looks.pop(template, (now + REPEATS_WITHIN_S, 0))
        until, looks = (now + REPEATS_WITHIN_S, 0) if until <= now else (until, looks)
        self._looks[template] = until, looks + 1
        if len(self._looks) > KINDS_MAX:
            self._looks.popitem(last=False)
        return key if looks < LOOKS_MAX else template


def _told(kind: _Kind) -> list[Line]:
    if kind.last is None:
        return []
    last, times = kind.last, f"repeated {kind.times:,} time{'' if kind.times == 1 else 's'}"
    message = f"{last.message} ({times} within {REPEATS_WITHIN_S:.0f} s)"
    return [Line(last.time_s, last.level, last.logger, message, None, {**last.extras, "repeated": kind.times})]


# ---- where lines go ----------------------------------------------------------------------------------------------


class _File(logging.handlers.RotatingFileHandler):
    """JSON Lines in a file of bounded size, and a few older ones; only their owner can read them."""

    def __init__(self, path: Path, device_id: str) -> None:
        self._device_id = device_id
        super().__init__(path, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8", delay=True)

    def _open(self) -> Any:
        path = Path(self.baseFilename)
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        return open(path, self.mode, encoding="utf-8", opener=_private)

    def __call__(self, line: Line) -> None:
        text = self._json(line) + "\n"
        if self.stream is None:
            self.stream = self._open()
        if self.stream.tell() + len(text) > self.maxBytes:
            self._make_room()
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            self._forget_half_a_line()
            raise

    def _make_room(self) -> None:
        try:
            self.doRollover()
        except OSError:  # on Windows while somebody reads it: it grows for now, up to twice its size
            if self.stream is None:
                self.stream = self._open()
            if self.stream.tell() > 2 * self.maxBytes:
                raise
        if self.stream is None:
            self.stream = self._open()

    def _forget_half_a_line(self) -> None:
        """What a full disk left in the buffer must not come out later, before other lines."""
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.close()  # type: ignore[union-attr]

    def _json(self, line: Line) -> str:
        moment = dt.datetime.fromtimestamp(line.time_s, dt.UTC)
        values: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": line.level_name.lower(),
            "logger": line.logger,
            "message": line.message,
            "device": self._device_id,
            "version": __version__,
        }
        if line.exception:
            values["exception"] = line.exception
        return json.dumps({**line.extras, **values}, ensure_ascii=True, default=str)


def _private(path: str, flags: int) -> int:
    """Never through a link, nor waiting at a pipe, that somebody planted in a shared home."""
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags | careful, _PRIVATE_FILE)


class _Stream:
    """Takes lines for a terminal, or for systemd's journal.

    Such a stream may stand still for hours: a console in which somebody has marked text, a terminal after Ctrl-S, a
    pager. So a thread of its own waits for it, and nobody who logs does: neither a sale nor a sync.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._texts: queue.Queue[str | None] = queue.Queue(STREAM_LINES_MAX)
        self._thread: threading.Thread | None = None

    def say(self, text: str) -> None:
        """Write what the stream's encoding can hold; nothing steers a terminal.

        Raises:
            OSError: it stands still, and so much waits already.
        """
        text = "".join(one if one.isprintable() or one == "\n" else "·" for one in text)
        if not _may_stand_still(self._stream):
            self._write(text)
            return
        try:
            self._texts.put_nowait(text)
        except queue.Full:
            raise OSError("nothing can be written there now") from None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="edge-agent-words", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, as far as that goes at once."""
        with contextlib.suppress(queue.Full):
            self._texts.put_nowait(None)
        if self._thread is not None:
            self._thread.join(STREAM_CLOSE_S)

    def _run(self) -> None:
        while (text := self._texts.get()) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._write(text)

    def _write(self, text: str) -> None:
        data = text.encode(getattr(self._stream, "encoding", None) or "utf-8", "replace")
        # Past the buffer: whoever waits in there holds its lock, and the interpreter could not end.
        raw = getattr(getattr(self._stream, "buffer", None), "raw", None)
        if raw is None:
            self._stream.write(data.decode(getattr(self._stream, "encoding", None) or "utf-8", "replace"))
            self._stream.flush()
        while raw is not None and data:
            data = data[raw.write(data) or 0 :]


def _may_stand_still(stream: TextIO) -> bool:
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


class _Journal(_Stream):
    """Lines for systemd's journal: their priority in front, no time."""

    def __call__(self, line: Line) -> None:
        priority = next(number for level, number in _PRIORITY if line.level >= level)
        extras = "".join(f" {name}={value!r}" for name, value in line.extras.items())
        more = [f"  {one}" for one in (line.exception or "").splitlines()]
        self.say("".join(f"<{priority}>{one}\n" for one in (_in_a_line(line.message + extras), *more)))


class _Terminal(_Stream):
    """Short lines for whoever watches."""

    def __call__(self, line: Line) -> None:
        moment = dt.datetime.fromtimestamp(line.time_s, dt.UTC).astimezone()
        level = "" if line.level <= logging.INFO else f"{line.level_name.lower()}: "
        last = (line.exception or "").strip().splitlines()[-1:]
        message = _in_a_line(line.message)
        self.say(f"{moment:%H:%M:%S} {level}{message}{''.join(f' ({one})' for one in last)}\n")


def _in_a_line(text: str) -> str:
    """What others wrote can't pass for a line of its own."""
    return "·".join(text.splitlines())
