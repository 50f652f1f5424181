"""Settings: a frozen value read from ``settings.toml`` and ``EDGE_AGENT_*``; an error names the key and the mend."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edge_agent.domain.ids import is_uuid
from edge_agent.domain.money import CURRENCY_EXPONENT
from edge_agent.errors import InvalidSettings

FILE_NAME = "settings.toml"
CREDENTIALS_NAME = "credentials.json"
ENVIRONMENT_PREFIX = "EDGE_AGENT_"
_NOT_SETTINGS = frozenset({"EDGE_AGENT_HOME", "EDGE_AGENT_PASSWORD", "EDGE_AGENT_COMPLETE_JOURNEY"})
# The short names of init's options work in the environment as well.
_ALIASES = {"company": "company_id", "store": "store_id", "brand": "brand_id", "device": "device_id"}
_APP = "edge-agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a device is told. The comments give units; every one can be set as ``EDGE_AGENT_<NAME>`` too."""

    url: str  # head office's address, https except on this machine
    insecure_http: bool = False  # allow http to another machine: for trials in a closed network alone
    username: str = ""
    company_id: str
    store_id: str
    brand_id: str
    device_id: str
    token_path: str = "/api/token/"  # noqa: S105 - a path, no secret
    auth_scheme: str = "Bearer"  # Bearer signs in; Token sends a static key kept in place of the password
    sales_path: str = "/api/sales/"  # where a baseline head office takes single sales
    ca_file: str = ""  # a private certificate authority, PEM
    client_cert_file: str = ""  # this device's own certificate, PEM, where head office asks for one
    client_key_file: str = ""  # its key, PEM, without a passphrase; empty: in client_cert_file
    currency: str = ""  # only until head office has told it
    timezone: str = ""  # only until head office has told it
    day_start: str = ""  # HH:MM; only until head office has told it
    group_access: bool = False  # databases shared with the file's group (0660)
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 20.0
    answer_deadline_s: float = 120.0  # a whole answer, however slowly it drips
    answer_bytes_max: int = 64 * 1024 * 1024  # a whole answer, decompressed
    page_rows: int = 2_000
    small_delta_rows: int = 5_000  # up to so many changed rows of all datasets are applied in one transaction
    batch_count_max: int = 500
    batch_bytes_max: int = 1_000_000  # below the contract's 1 MiB
    sync_interval_s: int = 0  # how often to pull; 0 follows head office's sync_interval_hours
    poll_interval_s: int = 60  # how often to push and to ask the version
    stock_interval_s: int = 900  # how old stock figures may get while the catalogue is unchanged
    return_spread_s: int = 30  # after an outage of 10 minutes or more, at most so long do others go first
    verify_interval_s: int = 21_600  # native: how often digests are compared with head office's
    snapshot_interval_s: int = 86_400  # baseline: how often the whole list is taken, and what it lacks is deleted
    heartbeat_interval_s: int = 300  # how often the daemon tells head office how this device is; 0: never
    local_port: int = 8780  # of the daemon's loopback API and status page; 0: none
    local_socket: str = ""  # a Unix socket for the loopback API as well; empty: none
    overlap_s: int = 300  # baseline: how far updated_since goes back behind the last sync
    backup_folder: str = ""  # where backups go; empty: backups in the home
    backup_keep: int = 7  # how many backups stay
    retention_days: int = 90  # how long the bytes of what head office confirmed stay
    ballast_mib: int = 16  # room held back for the day the disk is full; 0: none
    disk_warn_mib: int = 200  # below this much free room people are told

    def __post_init__(self) -> None:
        _check(self)


_RANGES: dict[str, tuple[float, float]] = {
    "connect_timeout_s": (0.1, 120),
    "read_timeout_s": (0.1, 600),
    "answer_deadline_s": (1, 3_600),
    "answer_bytes_max": (64 * 1024, 1024**3),
    "page_rows": (1, 5_000),
    "batch_count_max": (1, 500),
    "batch_bytes_max": (1_024, 1_048_576),
    "sync_interval_s": (0, 86_400),
    "poll_interval_s": (1, 86_400),
    "stock_interval_s": (0, 86_400),
    "return_spread_s": (0, 3_600),
    "small_delta_rows": (0, 50_000),
    "verify_interval_s": (60, 604_800),
    "snapshot_interval_s": (60, 2_592_000),
    "heartbeat_interval_s": (0, 86_400),
    "local_port": (0, 65_535),
    "overlap_s": (0, 86_400),
    "backup_keep": (1, 1_000),
    "retention_days": (7, 3_650),
    "ballast_mib": (0, 1_024),
    "disk_warn_mib": (0, 1_048_576),
}
_IDS = ("company_id", "store_id", "brand_id")
_LOCAL = ("127.0.0.1", "localhost", "::1")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def _check(settings: Settings) -> None:
    address = urlsplit(settings.url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise InvalidSettings(
            "url", f"url: {settings.url!r} is not an address", hint="Use head office's address, https://ho.example.com."
        )
    if address.username or address.password:
        raise InvalidSettings("url", "url: holds a password", hint="Give the user name as username, no password here.")
    for key in _IDS:
        if not is_uuid(getattr(settings, key)):
            raise InvalidSettings(
                key,
                f"{key}: {getattr(settings, key)!r} is not an id",
                hint="Head office gives it: a UUID in lower case with hyphens.",
            )
    if not _DEVICE.fullmatch(settings.device_id):
        raise InvalidSettings(
            "device_id",
            f"device_id: {settings.device_id!r} is not a device name",
            hint="Use letters, digits, points and hyphens, such as pos-02.",
        )
    if settings.auth_scheme not in ("Bearer", "Token"):
        raise InvalidSettings(
            "auth_scheme", f"auth_scheme: {settings.auth_scheme!r} is unknown", hint="Use Bearer or Token."
        )
    for key in ("token_path", "sales_path"):
        if not getattr(settings, key).startswith("/"):
            raise InvalidSettings(key, f"{key}: must begin with /", hint="Use a path such as /api/token/.")
    if settings.currency and settings.currency not in CURRENCY_EXPONENT:
        raise InvalidSettings(
            "currency", f"currency: {settings.currency!r} is unknown", hint="Use the three-letter code, such as IDR."
        )
    for key, (low, high) in _RANGES.items():
        if not low <= getattr(settings, key) <= high:
            raise InvalidSettings(
                key, f"{key}: {getattr(settings, key)} is out of range", hint=f"Use {low:,} to {high:,}."
            )
    if address.scheme == "http" and address.hostname not in _LOCAL and not settings.insecure_http:
        raise InvalidSettings(
            "url",
            "url: http would show sales and passwords to everyone on the line",
            hint="Use https. For a trial in a closed network, set insecure_http = true.",
        )


_TYPES = {field.name: field.type for field in fields(Settings)}


def _typed(key: str, value: object) -> Any:
    """A value from a file or the environment in its setting's type."""
    kind = {"str": str, "int": int, "float": float, "bool": bool}[str(_TYPES[key])]
    try:
        return msgspec.convert(value, kind, strict=not isinstance(value, str) or kind is str)
    except msgspec.ValidationError:
        words = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
        raise InvalidSettings(key, f"{key}: {value!r} is not {words[kind]}", hint=f"Write {words[kind]}.") from None


def make_settings(values: Mapping[str, object]) -> Settings:
    """Settings from named values.

    Raises:
        InvalidSettings: an unknown, missing, malformed or out-of-range key.
    """
    known = {field.name: field for field in fields(Settings)}
    for key in values:
        if key not in known:
            raise InvalidSettings(key, f"{key}: there is no such setting", hint="See docs/settings.md for all of them.")
    missing = [key for key in ("url", *_IDS, "device_id") if not values.get(key)]
    if missing:
        raise InvalidSettings(
            missing[0], f"{missing[0]}: is missing", hint="Run edge-agent init, or add it to settings.toml."
        )
    return Settings(**{key: _typed(key, value) for key, value in values.items()})


def stored_values(home: Path) -> dict[str, object]:
    """What a home's file says, unchecked; empty when there is no file.

    Raises:
        InvalidSettings: the file can't be read.
    """
    path = home / FILE_NAME
    try:
        return dict(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(FILE_NAME, f"{path} can't be read: {error}", hint="Mend that line.") from None
    except OSError as error:
        raise _out_of_reach(path, error) from None


def _out_of_reach(path: Path, error: OSError) -> InvalidSettings:
    return InvalidSettings(
        FILE_NAME,
        f"{path} can't be read: {error.strerror}",
        hint="Run this as the user the home belongs to; edge-agent doctor tells more.",
    )


def load_settings(home: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """A home's settings: the file, then ``EDGE_AGENT_*`` over it.

    Args:
        home: the folder that holds ``settings.toml``.
        environment: the process's environment; None for the real one.

    Raises:
        InvalidSettings: names the key and the mend.
    """
    try:
        is_there = (home / FILE_NAME).exists()
    except OSError as error:  # the folder is another user's
        raise _out_of_reach(home / FILE_NAME, error) from None
    if not is_there:
        raise InvalidSettings(
            FILE_NAME, f"{home} holds no {FILE_NAME}", hint="Run edge-agent init on this device first."
        )
    values = stored_values(home)
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _NOT_SETTINGS:
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
            values[_ALIASES.get(key, key)] = value
    return make_settings(values)


def save_settings(home: Path, settings: Settings) -> None:
    """Write a home's settings, leaving out what is at its default. The old file is replaced in one step."""
    import tomli_w

    defaults = {field.name: field.default for field in fields(Settings)}
    values = {key: value for key, value in asdict(settings).items() if value != defaults[key]}
    path = home / FILE_NAME
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)  # a link that somebody planted in a shared home must not be written through
    fresh.write_text(
        "# Written by edge-agent init. docs/settings.md explains every key.\n" + tomli_w.dumps(values), "utf-8"
    )
    fresh.replace(path)


def updated(settings: Settings, **changes: object) -> Settings:
    """The same settings with some changed, checked again."""
    return replace(settings, **{key: _typed(key, value) for key, value in changes.items()})


def candidate_homes() -> list[Path]:
    """The folders a home may be in when ``EDGE_AGENT_HOME`` is not set: the site's, then the user's."""
    import platformdirs

    return [
        Path(platformdirs.site_data_dir(_APP, appauthor=False)),
        Path(platformdirs.user_data_dir(_APP, appauthor=False)),
    ]


def find_home(home: Path | str | None = None) -> Path:
    """The one home of this device.

    Args:
        home: given by the caller; wins over everything.

    Raises:
        InvalidSettings: none is found, or two are: a POS and a daemon that resolve different homes would sell into a
            journal that nobody uploads.
    """
    given = home or os.environ.get("EDGE_AGENT_HOME")
    if given:
        return Path(given).expanduser().resolve()
    found = [folder for folder in candidate_homes() if _holds_settings(folder)]
    if len(found) > 1:
        raise InvalidSettings(
            "EDGE_AGENT_HOME",
            f"this device has two homes: {found[0]} and {found[1]}",
            hint="Set EDGE_AGENT_HOME to the right one for every program, or remove the settings.toml of the other.",
        )
    if not found:
        raise InvalidSettings(
            "EDGE_AGENT_HOME",
            "this device is not set up yet",
            hint="Run edge-agent init, or set EDGE_AGENT_HOME to the folder that holds settings.toml.",
        )
    return found[0]


def _holds_settings(folder: Path) -> bool:
    try:
        return (folder / FILE_NAME).is_file()
    except OSError:
        return False
