"""Setting a device up: its settings, its sign-in, and a question to head office whether they fit together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import (
    InvalidSettings,
    Refused,
    StoreBroken,
    Unreachable,
)
from edge_agent.head_office.auth import SecretFiles, Secrets
from edge_agent.head_office.client import HttpHeadOffice
from edge_agent.settings import (
    CREDENTIALS_NAME,
    FILE_NAME,
    Settings,
    candidate_homes,
    load_settings,
    save_settings,
)

_PRIVATE_FOLDER = 0o700
_GROUP_FOLDER = 0o770


@dataclass(frozen=True, slots=True)
class SetUp:
    """How setting up went. ``later`` says why head office could not be asked yet, if so."""

    home: Path
    later: str | None


def choose_home(home: Path | None = None) -> Path:
    """Where a new home goes: the given folder, ``EDGE_AGENT_HOME``, an existing home, else the user's data folder.

    Raises:
        InvalidSettings: two homes exist already.
    """
    given = home or os.environ.get("EDGE_AGENT_HOME")
    if given:
        return Path(given).expanduser().resolve()
    present = [folder for folder in candidate_homes() if (folder / FILE_NAME).is_file()]
    if len(present) > 1:
        raise InvalidSettings(
            "EDGE_AGENT_HOME",
            f"this device has two homes: {present[0]} and {present[1]}",
            hint="Set EDGE_AGENT_HOME to the right one, or remove the settings.toml of the other.",
        )
    return present[0] if present else candidate_homes()[-1]


def set_up(home: Path, settings: Settings, password: str, clock: Clock) -> SetUp:
    """Check the settings with head office and store them.

    Args:
        home: the folder to set up; made when absent.
        settings: checked settings.
        password: the device account's password, or the static key of the ``Token`` scheme.
        clock: the clock.

    Returns:
        With ``later`` set when head office can't be asked now: the settings are kept all the same.

    Raises:
        NotSignedIn: user name or password is wrong; nothing was stored.
        Refused: company, store or brand is wrong, and which; nothing was stored.
        InvalidSettings: the home belongs to another device or store already.
        StoreBroken: the home can't be written.
    """
    _refuse_another_device(home, settings)
    secrets = SecretFiles(None, CREDENTIALS_NAME, Secrets(password=password))
    later = None
    head_office = HttpHeadOffice(settings, secrets, clock)
    try:
        check_with_head_office(head_office, settings)
    except Unreachable as error:
        if error.reason == "redirect":
            raise InvalidSettings("url", error.message, hint=error.hint) from error
        later = error.message
    finally:
        head_office.close()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.name == "posix":
            home.chmod(_GROUP_FOLDER if settings.group_access else _PRIVATE_FOLDER)
        save_settings(home, settings)
    except OSError as error:
        raise StoreBroken(
            f"{home} can't be written: {error.strerror}", hint="Choose another folder with EDGE_AGENT_HOME."
        ) from error
    secrets.moved_to(home)
    return SetUp(home, later)


def _refuse_another_device(home: Path, settings: Settings) -> None:
    """A home's journal belongs to one device of one store for ever."""
    try:
        present = load_settings(home, environment={})
    except InvalidSettings:
        return  # nothing usable is there yet
    for key in ("company_id", "store_id", "device_id"):
        if getattr(present, key) != getattr(settings, key):
            raise InvalidSettings(
                key,
                f"{home} already belongs to {present.device_id} of store {present.store_id}",
                hint="Give this device a home of its own: set EDGE_AGENT_HOME to another folder.",
            )


def check_with_head_office(head_office: HttpHeadOffice, settings: Settings) -> None:
    """Ask head office whether the sign-in is good and company, store and brand are this device's.

    A native head office answers 403 without saying which id it is about, and a baseline one answers its version for
    any company. So each id is asked for with as little beside it as can be.

    Raises:
        NotSignedIn, Refused, Unreachable, ContractBroken: as each method of the client; ``Refused`` names which id
            is wrong.
    """
    head_office.sign_in()
    refusal = None
    try:
        head_office.version(None)
    except Refused as error:
        refusal = error
    company = {"company_id": settings.company_id}
    for noun, dataset, params in (
        ("company", "categories", company),
        ("store", "promotions", {**company, "store_id": settings.store_id}),
        ("brand", "products", {**company, "brand_id": settings.brand_id}),
    ):
        try:
            head_office.probe(dataset, params)
        except Refused as error:
            named = error.ho_code.removesuffix("_NOT_FOUND").removeprefix("MISSING_").removesuffix("_ID").lower()
            raise _wrong(named if named in _NOUNS else noun, settings, error) from error
    if refusal is not None:
        raise refusal


_NOUNS = ("company", "store", "brand")


def _wrong(noun: str, settings: Settings, refusal: Refused) -> Refused:
    value = getattr(settings, f"{noun}_id")
    return Refused(
        f"head office does not know the {noun} {value} for this account",
        status=refusal.status,
        ho_code=refusal.ho_code,
        hint=f"Check the {noun}'s id (--{noun}) with head office. Nothing was stored.",
    )
