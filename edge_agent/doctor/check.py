"""One check's outcome, and the device it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_agent.clock import Clock
from edge_agent.settings import Settings

State = Literal["fine", "warn", "bad", "skipped"]
Kind = Literal["person", "settings", "store", "sign-in", "line"]


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found.

    Args:
        name: of the check; programs know it by this.
        state: ``fine``; ``warn``: good to know, nothing stands still; ``bad``: somebody has to do something;
            ``skipped``: could not be looked at, and why.
        words: what was found, for the shop's staff.
        mend: what to do about it; empty where nothing is to be done.
        fix: does the mend where that is safe, and says what it did; raises OSError when it can't.
        took_ms: how long the check took, milliseconds.
    """

    name: str
    state: State
    words: str
    mend: str = ""
    fix: Callable[[], str] | None = None
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Device:
    """The device that is looked at.

    Args:
        home: its home; None while it can't be told which one it is.
        settings: None while they can't be read.
        environment: the process's environment.
        clock: its clock.
        free_bytes: the room on the disk of a folder.
    """

    home: Path | None
    settings: Settings | None
    environment: Mapping[str, str]
    clock: Clock
    free_bytes: Callable[[Path], int]

    @property
    def folder(self) -> Path:
        """The home, where it is known."""
        assert self.home is not None, "checks without a home are skipped"
        return self.home

    @property
    def told(self) -> Settings:
        """The settings, where they can be read."""
        assert self.settings is not None, "checks without settings are skipped"
        return self.settings


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``3 sales``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
