"""What happens to the shop: each fault begins, lasts some hours and ends; nobody mends anything."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ho_stub.front import PORTAL
from ho_stub.testing import Canned
from tests.fortnight.shop import Shop

SLOW_REAL_S = 0.15
RETRY_AFTER_S = 2_700
LOST_ANSWERS = 6
YEARS_26_S = 26 * 365.25 * 86_400
PAGE_BYTES = 4096
REFILL_REAL_S = 0.05
End = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """One kind.

    Args:
        name: for the report.
        begin: does it; gives what ends it.
        hours: how long it lasts, simulated.
        restarts: it ends the daemon's process.
        at_head_office: it is head office's or the line's.
        damages: the file that it spoils.
    """

    name: str
    begin: Callable[[Shop], End]
    hours: float
    restarts: bool = False
    at_head_office: bool = False
    damages: str = ""


def _nothing() -> None:
    """It is over by itself."""


# ---- head office and the line ------------------------------------------------------------------------------------


def dead(shop: Shop) -> End:
    shop.office.stop()
    return lambda: _again(shop)


def _again(shop: Shop) -> None:
    shop.office.start()


def _weather(way: Callable[[str, str], Canned | None]) -> Callable[[Shop], End]:
    def begin(shop: Shop) -> End:
        shop.weather.append(way)
        return lambda: shop.weather.remove(way)

    return begin


def _slowly(_method: str, _path: str) -> None:
    time.sleep(SLOW_REAL_S)


def restart(shop: Shop) -> End:
    shop.office.stop()
    shop.office.start()
    return _nothing


def lost_answers(shop: Shop) -> End:
    shop.office.drop_after_commit = LOST_ANSWERS
    return lambda: setattr(shop.office, "drop_after_commit", 0)


def _restored(*, told: bool) -> Callable[[Shop], End]:
    def begin(shop: Shop) -> End:
        backup = shop.office.world.snapshot()
        return lambda: shop.office.world.restore(backup, new_epoch=told)

    return begin


# ---- programs and the machine ------------------------------------------------------------------------------------


def kill_daemon(shop: Shop) -> End:
    shop.service.kill()
    return shop.service.start


def kill_tills(shop: Shop) -> End:
    """In the middle of a sale: the customer's basket was just handed over."""
    for till in shop.tills:
        shop.sell()
        till.busy.wait(1)
        time.sleep(shop.dice.random() * 0.004)
        till.kill()

    def end() -> None:
        for till in shop.tills:
            till.open()

    return end


def restart_service(shop: Shop) -> End:
    assert shop.service.end() == 0
    shop.service.start()
    return _nothing


def reboot(shop: Shop) -> End:
    shop.kill_everything()

    def end() -> None:
        shop.work.reboot()
        shop.open()

    return end


def _wall(seconds: float) -> Callable[[Shop], End]:
    def begin(shop: Shop) -> End:
        shop.work.shift_wall(seconds)
        return lambda: shop.work.shift_wall(0)

    return begin


def full_disk(shop: Shop) -> End:
    """Whatever comes free, somebody's file takes it at once: the room held back as well."""
    over = threading.Event()

    def keep_full() -> None:
        while not over.wait(REFILL_REAL_S):
            shop.disk.fill()

    shop.disk.fill()
    filler = threading.Thread(target=keep_full, daemon=True)
    filler.start()

    def end() -> None:
        over.set()
        filler.join()
        shop.disk.clear()

    return end


def _damaged(name: str, pages: int) -> Callable[[Shop], End]:
    def begin(shop: Shop) -> End:
        damage(shop, name, pages, shop.dice)
        return _nothing

    return begin


def damage(shop: Shop, name: str, pages: int, dice: random.Random) -> None:
    """Random bytes in place of some pages of a file that programs have open."""
    path = shop.home / name
    with path.open("r+b") as file:
        count = os.fstat(file.fileno()).st_size // PAGE_BYTES
        for _ in range(pages):
            file.seek(dice.randrange(count) * PAGE_BYTES)
            file.write(dice.randbytes(PAGE_BYTES))


def port_taken(shop: Shop) -> End:
    """Another program has the port when the service starts."""
    shop.service.end()
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", shop.port))
    other.listen()
    shop.service.start()
    return other.close


def token_deleted(shop: Shop) -> End:
    """The service makes a new one at its next start."""
    (shop.home / "local-api.token").unlink(missing_ok=True)  # there may be none yet

    def end() -> None:
        shop.service.end()
        shop.service.start()

    return end


def _office(name: str, begin: Callable[[Shop], End], hours: float) -> Fault:
    return Fault(name, begin, hours, at_head_office=True)


def _answers(status: int, headers: dict[str, str], body: Any) -> Callable[[Shop], End]:
    return _weather(lambda _method, _path: (status, headers, body))


DEAD = _office("line dead", dead, 5)
TWO_DAYS = _office("line dead for two days", dead, 48)
SERVER_ERRORS = _office("head office answers 500", _answers(500, {}, {"detail": "Internal server error."}), 4)
CAPTIVE = _office("captive portal: its page for answers", _answers(200, {"content-type": "text/html"}, PORTAL), 4)
SLOW = _office("head office slow", _weather(_slowly), 3)
BUSY = _office("429 with Retry-After", _answers(429, {"retry-after": str(RETRY_AFTER_S)}, {"code": "BUSY"}), 3)
LOST = _office("answers lost after the commit", lost_answers, 3)
RESTART = _office("head office restarts", restart, 0.2)
RESTORED = _office("head office restored from its backup of some hours ago, and says so", _restored(told=True), 3)
UNTOLD = _office("head office restored from backup, and tells nobody", _restored(told=False), 3)
OF_OFFICE = (DEAD, SERVER_ERRORS, CAPTIVE, SLOW, BUSY, LOST, RESTART, RESTORED, UNTOLD)
NIGHTLY = (DEAD, SERVER_ERRORS, CAPTIVE, SLOW, BUSY, LOST, RESTART)

KILL_DAEMON = Fault("daemon killed (-9)", kill_daemon, 0.3, restarts=True)
RESTART_SERVICE = Fault("orderly restart of the service", restart_service, 0.2, restarts=True)
REBOOT = Fault("power off; everything starts again", reboot, 0.5, restarts=True)
PORT_TAKEN = Fault("the port is taken when the service starts", port_taken, 2, restarts=True)
TOKEN = Fault("token file deleted, service restarted", token_deleted, 0.5, restarts=True)
OF_PROCESS = (KILL_DAEMON, RESTART_SERVICE, REBOOT, PORT_TAKEN, TOKEN)

KILL_TILLS = Fault("both tills killed (-9) in the middle of a sale", kill_tills, 0.3)
CLOCK_BACK = Fault("wall clock an hour back, then right again", _wall(-3_600), 6)
CLOCK_AHEAD = Fault("wall clock 26 years ahead, then right again", _wall(YEARS_26_S), 2)
FULL = Fault("disk full", full_disk, 1.5)
CATALOGUE_DAMAGED = Fault("catalog.db: random bytes over 5 pages", _damaged("catalog.db", 5), 0.2, damages="catalog.db")
JOURNAL_DAMAGED = Fault("journal.db: random bytes over a page", _damaged("journal.db", 1), 0.2, damages="journal.db")
OF_MACHINE = (KILL_TILLS, CLOCK_BACK, CLOCK_AHEAD, FULL, CATALOGUE_DAMAGED, JOURNAL_DAMAGED)


@dataclass(frozen=True)
class Planned:
    """A fault, the day (from 1) and the hour of the store's day it begins at, and how long it lasts."""

    fault: Fault
    day: int
    hour: float
    hours: float


def plan_of_fortnight(days: int, dice: random.Random) -> list[Planned]:
    """One fault of head office and one of the shop each day, one of head office or the line each night; two days of
    them without any line. The last day is a quiet one, and from the middle on nothing ends the daemon's process, so
    that its memory can be seen grow."""
    middle = days // 2
    dark = range(middle - 1, middle + 2)
    office = list(OF_OFFICE)
    dice.shuffle(office)
    process, machine = list(OF_PROCESS), list(OF_MACHINE)
    dice.shuffle(process)
    dice.shuffle(machine)
    found = [Planned(TWO_DAYS, middle - 1, 12, 48)]
    for day in range(2, days):
        first, second = dice.sample([9.5, 15.0], 2)
        if day not in dark and office:
            fault = office.pop()
            found.append(Planned(fault, day, first, fault.hours))
        local = process if day < middle + 1 and process else machine
        if local:
            fault = local.pop()
            found.append(Planned(fault, day, second, fault.hours))
        if day not in dark:
            fault = dice.choice(NIGHTLY)
            found.append(Planned(fault, day, 23.5, min(6.0, fault.hours + 2)))
    return sorted(found, key=lambda one: (one.day, one.hour))


def plan_of_days(days: int, dice: random.Random) -> list[Planned]:
    """Every fault once, one after the other, squeezed into a few days."""
    faults = [*OF_OFFICE, *OF_PROCESS, *OF_MACHINE]
    dice.shuffle(faults)
    step = (days * 24 - 14) / len(faults)
    found = []
    for number, fault in enumerate(faults):
        at = 8 + number * step
        found.append(Planned(fault, 1 + int(at // 24), at % 24, min(fault.hours, step * 0.6)))
    return found
