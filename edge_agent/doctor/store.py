"""Checks of what holds the sales: the engine, the journal, the catalogue, what waits, and who syncs."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edge_agent.doctor.check import Check, Device, counted
from edge_agent.errors import StoreBroken
from edge_agent.presence import find, lives
from edge_agent.status import age_text
from edge_agent.storage import engine, look
from edge_agent.storage.aside import damaged_files
from edge_agent.storage.database import Database
from edge_agent.storage.incidents import incidents
from edge_agent.storage.outbox import Outbox
from edge_agent.syncer import CONTACT_NAME, LOCK_NAME, LOOP_LOCK_NAME

JOURNAL_NAME, CATALOG_NAME = "journal.db", "catalog.db"
WAITS_LONG_S = 24 * 3_600
_OVER_BY_ITSELF = ("head office was restored", "head office lost entries")


def sqlite(device: Device) -> Check:
    """Which SQLite is in use, and what that means."""
    version = engine.sqlite3.sqlite_version
    if engine.engine_is_too_old():
        return Check(
            "engine", "bad", f"SQLite {version} is too old to keep sales.", "Install a newer Python, or pysqlite3."
        )
    if engine.wal_is_safe():
        return Check("engine", "fine", f"SQLite {version} keeps the sales.")
    return Check(
        "engine",
        "fine",
        f"SQLite {version} keeps the sales the careful way (TRUNCATE): its faster way has a known fault.",
    )


def journal(device: Device) -> Check:
    """Whether the journal can be read and is whole, as far as can be seen while a till sells."""
    path = device.folder / JOURNAL_NAME
    if not path.exists():
        words = "There is no journal yet: no sale has been recorded on this device."
        aside = damaged_files(path)
        if aside:
            words = f"The journal is not there; a damaged one is kept as {aside[-1].name}."
        return Check("journal", "warn", words, "Start the till program, or run edge-agent sync: either makes one.")
    try:
        looked = look.look(path, "journal")
        if looked.damage is None and not looked.waiting:
            with closing(look.UnwrittenJournal(path)) as unwritten:
                unwritten.look_at_the_end()
    except StoreBroken as error:
        return _unreadable(error, path)
    if looked.damage is not None:
        return _damaged(path)
    if looked.waiting:
        return Check(
            "journal",
            "warn",
            "The journal is whole and waits for an update of its form.",
            "Nothing: the next program that opens it makes a backup and updates it.",
        )
    extent = "" if looked.whole else " as far as could be seen without keeping a till waiting; each night looks at all"
    return Check("journal", "fine", f"The journal is whole{extent}.")


def _unreadable(error: StoreBroken, path: Path) -> Check:
    if error.is_damaged:
        return _damaged(path)
    if "newer" in error.message:
        return Check("journal", "bad", "The journal was written by a newer edge-agent than this one.", error.hint)
    hint = error.hint or "Check the disk, then restart this device."
    return Check("journal", "bad", f"The journal can't be read: {error.message}.", hint)


def _damaged(path: Path) -> Check:
    return Check(
        "journal",
        "bad",
        f"The journal is damaged ({path.name}).",
        "Delete nothing. Start the till program or run edge-agent sync: the damaged file is kept, selling goes on with "
        "a fresh one, and what can be read of the old one comes back. Then have the disk looked at.",
    )


def mode(device: Device) -> Check:
    """Whether the journal is kept the way this engine keeps it safely."""
    path = device.folder / JOURNAL_NAME
    if not path.exists():
        return Check("journal mode", "skipped", "Not asked: there is no journal yet.")
    with look.reading(path) as connection:
        present = str(connection.execute("PRAGMA journal_mode").fetchone()[0]).lower()
    if present != "wal":
        return Check("journal mode", "fine", "The journal is kept the careful way (TRUNCATE).")
    if engine.wal_is_safe():
        return Check("journal mode", "fine", "The journal is kept the fast and safe way (WAL).")

    def make_careful() -> str:
        try:
            # What every program does that opens it with this engine; with others around it changes nothing.
            opened = Database(path, "journal", synchronous="FULL")
        except StoreBroken as error:
            raise OSError(0, f"another program has it open: {error.message}") from error
        opened.close()
        return "Turned the journal to the careful way (TRUNCATE)."

    return Check(
        "journal mode",
        "bad",
        f"The journal is kept in a way (WAL) that SQLite {engine.sqlite3.sqlite_version} can damage when several "
        "programs use it.",
        "Close the till program and the service once, then run edge-agent doctor --fix. Or install the package "
        "pysqlite3.",
        make_careful,
    )


def catalogue(device: Device) -> Check:
    """Whether prices can be read. They can be fetched again, so nothing is lost with them."""
    path = device.folder / CATALOG_NAME
    if not path.exists():
        return Check("prices", "warn", "There are no prices on this device yet.", "edge-agent sync fetches them.")
    try:
        looked = look.look(path, "catalog")
    except StoreBroken as error:
        if not error.is_damaged:
            return Check("prices", "bad", f"The prices can't be read: {error.message}.", error.hint)
        looked = look.Looked("", "damaged", whole=False, waiting=())
    if looked.damage is not None:
        return Check(
            "prices",
            "bad",
            "The file with the prices is damaged. No sale is in it.",
            "Run edge-agent sync: it moves the file aside and fetches all prices anew.",
        )
    return Check("prices", "fine", "The file with the prices is whole.")


def kept_aside(device: Device) -> Check:
    """Damaged journals that were replaced."""
    found = damaged_files(device.folder / JOURNAL_NAME)
    if not found:
        return Check("damaged files", "fine", "No damaged journal was ever set aside here.")
    return Check(
        "damaged files",
        "warn",
        f"{counted(len(found), 'damaged journal')} set aside here: {found[-1].name}.",
        "Keep them until head office's books are closed. Damage rarely comes alone: have the disk looked at. Run "
        "edge-agent verify.",
    )


def _not_readable_yet(device: Device, name: str) -> Check | None:
    """Why the journal has nothing to tell; None when it has."""
    path = device.folder / JOURNAL_NAME
    if not path.exists():
        return Check(name, "skipped", "Not asked: there is no journal yet.")
    if look.waiting(path, "journal"):
        return Check(name, "skipped", "Not asked: the journal waits for an update of its form.")
    return None


def waiting(device: Device) -> Check:
    """What waits for head office, and what it refused."""
    reason = _not_readable_yet(device, "waiting")
    if reason is not None:
        return reason
    with closing(look.UnwrittenJournal(device.folder / JOURNAL_NAME)) as unwritten:
        counts = Outbox(unwritten).counts(sales_only=_profile(device) == "baseline")
    now_ms = device.clock.now_ms()
    if counts.quarantined:
        entries = counted(counts.quarantined, "entry", "entries")
        return Check(
            "waiting",
            "bad",
            f"Head office refused {entries}; {'it is' if counts.quarantined == 1 else 'they are'} kept here.",
            "The reasons: edge-agent outbox list. When head office has mended them: edge-agent outbox retry --all.",
        )
    if counts.pending == 0:
        return Check("waiting", "fine", "No sale is waiting for head office.")
    age_s = (now_ms - (counts.oldest_pending_ms or now_ms)) / 1000
    words = f"{counted(counts.pending_sales, 'sale')} waiting for head office, the oldest for {age_text(age_s)}."
    if counts.pending_sales == 0:
        words = f"{counted(counts.pending_usages, 'promotion use')} waiting, the oldest for {age_text(age_s)}."
    if age_s > WAITS_LONG_S:
        return Check(
            "waiting", "warn", words, "They are safe here. The other points of this list tell what holds them."
        )
    return Check("waiting", "fine", words)


def _profile(device: Device) -> str | None:
    try:
        with closing(look.UnwrittenCatalog(device.folder / CATALOG_NAME)) as store:
            return store.all_meta().get("profile")
    except StoreBroken:
        return None


def told(device: Device) -> Check:
    """What happened that people should know of."""
    reason = _not_readable_yet(device, "incidents")
    if reason is not None:
        return reason
    with look.reading(device.folder / JOURNAL_NAME) as connection:
        found = [one for one in incidents(connection) if one.kind not in _OVER_BY_ITSELF]
    if not found:
        return Check("incidents", "fine", "Nothing has happened that needs you.")
    sentences = [f"{one.kind[:1].upper()}{one.kind[1:]}: {one.detail.rstrip('.')}." for one in found]
    return Check("incidents", "warn", " ".join(sentences), "docs/recovery.md tells what to do about each.")


# ---- who syncs ---------------------------------------------------------------------------------------------------


def syncing(device: Device) -> Check:
    """Whether something sends and fetches in the background."""
    if someone_syncs(device):
        return Check("syncing", "fine", "A program sends and fetches in the background.")
    if _is_held(device.folder / LOCK_NAME):
        return Check("syncing", "fine", "A program is sending and fetching just now.")
    last_ms = last_contact_ms(device)
    ago = "It was never reached from here."
    if last_ms is not None:
        ago = f"It was last reached {age_text((device.clock.now_ms() - last_ms) / 1000)} ago."
    return Check(
        "syncing",
        "warn",
        f"Nothing sends to head office in the background just now. {ago}",
        "Start the service (edge-agent run), or the till program if it does the sending. edge-agent sync does it once.",
    )


def local_port(device: Device) -> Check:
    """Whether the daemon has its port, for the status page and for tills that sell through it."""
    there = find(device.folder) if lives(device.folder) else None
    wanted = device.settings.local_port if device.settings else 0
    if there is None or not wanted:
        return Check("local port", "fine", "Nothing serves the status page here now, and nothing has to.")
    if there.port:
        return Check("local port", "fine", f"The status page is at http://127.0.0.1:{there.port}/ (edge-agent page).")
    return Check(
        "local port",
        "warn",
        f"edge-agent run could not have the port {wanted}: there is no status page, and no till sells through it.",
        "End the program that has the port, or set another local_port in settings.toml and restart edge-agent run.",
    )


def someone_syncs(device: Device) -> bool:
    """Whether a program sends and fetches in the background."""
    return _is_held(device.folder / LOOP_LOCK_NAME)


def last_contact_ms(device: Device) -> int | None:
    """When head office last answered a cycle, milliseconds since 1970."""
    try:
        return (device.folder / CONTACT_NAME).stat().st_mtime_ns // 1_000_000
    except OSError:
        return None


def _is_held(path: Path) -> bool:
    """Whether a program holds a lock. Where nobody does it is ours for an instant, as with ``status``."""
    if not path.exists():
        return False
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        with lock:
            return False
    except Timeout:
        return True
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """The room on a folder's disk."""
    return shutil.disk_usage(folder).free


def system() -> str:
    """The operating system, in a word or two."""
    return f"{platform.system()} {platform.release()} {platform.machine()}"


CHECKS: tuple[tuple[str, Callable[[Device], Check], tuple[str, ...]], ...] = (
    ("engine", sqlite, ()),
    ("journal", journal, ("home", "engine")),
    ("journal mode", mode, ("journal",)),
    ("prices", catalogue, ("home", "engine")),
    ("damaged files", kept_aside, ("home",)),
    ("waiting", waiting, ("journal",)),
    ("incidents", told, ("journal",)),
    ("syncing", syncing, ("home",)),
    ("local port", local_port, ("settings",)),
)
