"""Checks of where the agent lives: its home, its settings, who may read its files, and the room on the disk."""

from __future__ import annotations

import functools
import os
import re
import stat
from pathlib import Path

from edge_agent.doctor.check import Check, Device, counted
from edge_agent.errors import InvalidSettings
from edge_agent.head_office.auth import TOKENS_NAME
from edge_agent.redaction import SECRET_FILES
from edge_agent.settings import CREDENTIALS_NAME, ENVIRONMENT_PREFIX, FILE_NAME, Settings, find_home, load_settings
from edge_agent.storage.backup import backup_folder, backups
from edge_agent.storage.ballast import MIB, NO_ROOM_BYTES, WORTH, Ballast

_SETTINGS_OF_TESTS = ("EDGE_AGENT_HOME", "EDGE_AGENT_PASSWORD", "EDGE_AGENT_COMPLETE_JOURNEY")
_DATABASES = ("journal.db", "catalog.db")
_NEW = re.compile(r"(?:ballast|settings|credentials|tokens)\.new|(?:device\.key|local-api\.token)\.[A-Za-z0-9_]{6,12}")
LEFTOVER_AGE_S = 3_600  # a younger one may just be in the making
BACKUP_OLD_DAYS = 3
DISK_WARN_MIB = 200  # while the settings can't be read
_DAY_S = 86_400


def find(given: Path | None) -> tuple[Path | None, Check]:
    """Which folder is the device's home."""
    try:
        home = find_home(given)
    except InvalidSettings as error:
        return None, Check("home", "bad", f"{_sentence(error.message)}.", error.hint)
    if not home.is_dir():
        return None, Check(
            "home",
            "bad",
            f"The folder {home} is not there.",
            "Check that its disk is plugged in, or run edge-agent init to set this device up.",
        )
    run_as = f"Run this as the user the agent runs as{_owner_in_words(home)}, or as administrator."
    if not os.access(home, os.R_OK | os.X_OK):
        return None, Check("home", "bad", f"You may not read the folder {home}.", run_as)
    if not os.access(home, os.W_OK):
        mend = f"{run_as} If you are that user, the disk refuses to be written: restart this device, or call support."
        return home, Check("home", "bad", f"Nothing can be written into the folder {home}.", mend)
    return home, Check("home", "fine", f"This device keeps its sales in {home}.")


def _owner_in_words(home: Path) -> str:
    try:
        return f" ({home.owner()})"
    except (OSError, KeyError, NotImplementedError):
        return ""


def settings(device: Device) -> tuple[Settings | None, Check]:
    """Whether the settings can be read, and what in the environment stands over them."""
    path = device.folder / FILE_NAME
    try:
        found = load_settings(device.folder, device.environment)
    except InvalidSettings as error:
        return None, Check("settings", "bad", f"The settings can't be used: {error.message}.", error.hint)
    except OSError as error:
        return None, Check(
            "settings", "bad", f"{path} can't be read: {error.strerror}.", "Run this as the user the agent runs as."
        )
    over = sorted(
        name for name in device.environment if name.startswith(ENVIRONMENT_PREFIX) and name not in _SETTINGS_OF_TESTS
    )
    if over:
        return found, Check(
            "settings",
            "warn",
            f"The settings are in order, but the environment overrides them: {', '.join(over)}.",
            "Make sure that the till program and the service see the same, or write them into settings.toml.",
        )
    return found, Check("settings", "fine", f"The settings are in order: {found.device_id} at {found.url}.")


def user(device: Device) -> Check:
    """Whether this is run by the user who owns the home: what another one makes, the agent may not touch."""
    if os.name != "posix":
        return Check("user", "skipped", "Not asked: this system has no such owners.")
    owner = device.folder.stat().st_uid
    if owner == os.geteuid():
        return Check("user", "fine", "You are the user this device's files belong to.")
    return Check(
        "user",
        "warn",
        f"You are not the user this device's files belong to{_owner_in_words(device.folder)}.",
        "Run edge-agent as that user: files that another one makes can keep the till from selling.",
    )


def _is_owner(device: Device) -> bool:
    return os.name != "posix" or device.folder.stat().st_uid == os.geteuid()


# ---- who may read ------------------------------------------------------------------------------------------------


def modes(device: Device) -> Check:
    """Whether others on this machine can read passwords, keys or sales."""
    if os.name != "posix":
        return Check("permissions", "skipped", "Not asked: Windows keeps permissions on the folder.")
    is_shared = device.settings is not None and device.settings.group_access
    wrong = [
        (path, right)
        for path, right in _wanted_modes(device.folder, is_shared=is_shared)
        if stat.S_IMODE(path.stat().st_mode) & ~right
    ]
    if not wrong:
        return Check("permissions", "fine", "Nobody else on this device can read its password, keys or sales.")
    named = _named(device.folder, tuple(wrong))
    return Check(
        "permissions",
        "bad",
        f"Others who use this machine can read or change {named}.",
        "Run edge-agent doctor --fix: it lets only the agent's user in. If others do use this machine, change the "
        "device's password at head office too.",
        functools.partial(_close, device.folder, tuple(wrong)),
    )


def _wanted_modes(home: Path, *, is_shared: bool) -> list[tuple[Path, int]]:
    """What there is, with the most that may be allowed of it."""
    database = 0o660 if is_shared else 0o600
    found = [(home, 0o770 if is_shared else 0o700)]
    found += [(home / name, 0o600) for name in SECRET_FILES]
    found += [(home / (name + after), database) for name in _DATABASES for after in ("", "-wal", "-shm", "-journal")]
    return [(path, mode) for path, mode in found if path.exists()]


def _named(home: Path, wrong: tuple[tuple[Path, int], ...]) -> str:
    return ", ".join("the agent's folder" if path == home else path.name for path, _ in wrong)


def _close(home: Path, wrong: tuple[tuple[Path, int], ...]) -> str:
    for path, right in wrong:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & right)
    return f"Let only the agent's user read {_named(home, wrong)}."


def credentials(device: Device) -> Check:
    """Whether there is something to sign in with."""
    path = device.folder / CREDENTIALS_NAME
    if device.environment.get("EDGE_AGENT_PASSWORD"):
        return Check("password", "fine", "The password comes from the environment.")
    has_tokens = (device.folder / TOKENS_NAME).exists()
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        state = "This device's password is not there"
        rest = ": once its present sign-in ends, nothing goes up any more." if has_tokens else "."
        return Check("password", "bad", state + rest, "Run edge-agent init again with user name and password.")
    except OSError as error:
        return Check("password", "bad", f"{path} can't be read: {error.strerror}.", "Run this as the agent's user.")
    if b'"password"' not in text or not _is_json(text):
        return Check(
            "password",
            "bad",
            f"{path.name} is damaged: the password can't be read from it.",
            "Run edge-agent init again with user name and password.",
        )
    return Check("password", "fine", "This device has a password for head office.")


def _is_json(content: bytes) -> bool:
    import msgspec

    try:
        return isinstance(msgspec.json.decode(content), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


# ---- room --------------------------------------------------------------------------------------------------------


def disk(device: Device) -> Check:
    """Whether there is room for more sales."""
    free = device.free_bytes(device.folder)
    warn = (device.settings.disk_warn_mib if device.settings else DISK_WARN_MIB) * MIB
    if free < NO_ROOM_BYTES:
        return Check(
            "disk",
            "bad",
            "The disk is full: new sales can't be saved.",
            "Free some space now: empty the recycle bin, delete old pictures and downloads. Touch nothing in "
            f"{device.folder}.",
        )
    if free < warn:
        return Check(
            "disk",
            "bad",
            f"The disk is nearly full: {free // MIB:,} MiB are free.",
            "Free some space before sales can't be saved: empty the recycle bin, delete old pictures and downloads. "
            f"Touch nothing in {device.folder}.",
        )
    return Check("disk", "fine", f"{free // MIB:,} MiB are free on the disk.")


def ballast(device: Device) -> Check:
    """Whether room is held back for the day the disk is full."""
    held = Ballast(device.folder, device.told.ballast_mib, device.free_bytes)
    if held.is_there:
        return Check(
            "reserve",
            "fine",
            "Room is held back for the day the disk is full."
            if device.told.ballast_mib
            else "No room is held back, as the settings say.",
        )
    if device.free_bytes(device.folder) < WORTH * device.told.ballast_mib * MIB:
        return Check(
            "reserve",
            "warn",
            "No room is held back for the day the disk is full: the disk has too little.",
            "Free some space; the agent then holds room back by itself.",
        )

    def hold() -> str:
        if not held.ensure():
            raise OSError(0, "there is no room")
        return f"Held {device.told.ballast_mib} MiB back for the day the disk is full."

    return Check(
        "reserve",
        "warn",
        "No room is held back for the day the disk is full.",
        "The agent does it within the hour while it runs; edge-agent doctor --fix does it now.",
        hold if _is_owner(device) else None,
    )


def backup(device: Device) -> Check:
    """Whether there are copies of the journal, and how old the last one is."""
    folder = backup_folder(device.folder, device.told.backup_folder)
    if not folder.is_dir():
        if not device.told.backup_folder:
            return Check(
                "backup",
                "warn",
                "There is no backup yet.",
                "The first night makes one; to have one now: edge-agent backup.",
            )

        def make() -> str:
            folder.mkdir(mode=0o700)
            return f"Made the folder {folder} for backups."

        is_near = folder.parent.is_dir() and _is_owner(device)
        return Check(
            "backup",
            "bad",
            f"The folder for backups, {folder}, is not there.",
            "Plug in its disk, or let edge-agent doctor --fix make the folder."
            if is_near
            else "Plug in its disk, or set backup_folder in settings.toml to a folder that is there.",
            make if is_near else None,
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check(
            "backup", "bad", f"The folder for backups, {folder}, can't be written.", "Let the agent's user in."
        )
    found = [one for one in backups(folder) if one.device_id == device.told.device_id]
    if not found:
        return Check(
            "backup",
            "warn",
            "There is no backup yet.",
            "The first night makes one; to have one now: edge-agent backup.",
        )
    age_days = (device.clock.now() - found[0].taken_at).total_seconds() / _DAY_S
    words = f"The last backup is of {found[0].taken_at.astimezone():%d %b %H:%M}"
    if age_days > BACKUP_OLD_DAYS:
        return Check(
            "backup",
            "warn",
            f"{words}, {counted(int(age_days), 'day')} ago.",
            "Make one with edge-agent backup. Each night makes one while something syncs this device.",
        )
    return Check("backup", "fine", f"{words}.")


def leftovers(device: Device) -> Check:
    """What a power cut left half-made. Locks are no leftovers: the system itself holds them."""
    oldest = device.clock.now().timestamp() - LEFTOVER_AGE_S
    found = [
        path
        for path in sorted(device.folder.iterdir())
        if _NEW.fullmatch(path.name) and path.is_file() and path.stat().st_mtime < oldest
    ]
    if not found:
        return Check("leftovers", "fine", "No half-made files lie about.")

    def remove() -> str:
        for path in found:
            path.unlink(missing_ok=True)
        return f"Removed {', '.join(path.name for path in found)}."

    return Check(
        "leftovers",
        "warn",
        f"A power cut left half-made files: {', '.join(path.name for path in found)}.",
        "They do no harm; edge-agent doctor --fix removes them.",
        remove,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
