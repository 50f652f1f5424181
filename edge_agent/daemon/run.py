"""``edge-agent run``: keeps one home in sync for months, and serves the loopback API and the status page.

The sync loop is the one that a POS embeds (``EdgeAgent.start``); round it stand the timetable, the watchdog, the
server, and the service manager that is told how it goes. A sale is safe at any moment (G1): stopping needs no care,
only haste.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent import __version__
from edge_agent.agent import EdgeAgent
from edge_agent.clock import Clock
from edge_agent.daemon.ending import Ending, leave
from edge_agent.daemon.logs import Logs, configure
from edge_agent.daemon.memory import begin_small, give_back
from edge_agent.daemon.timetable import Job, Timetable
from edge_agent.daemon.watchdog import Part, Watchdog, keepalive_s
from edge_agent.errors import EdgeAgentError
from edge_agent.nightly import seconds_to_night
from edge_agent.presence import Presence, announce, one_daemon, withdraw
from edge_agent.settings import Settings, load_settings

if TYPE_CHECKING:
    from edge_agent.daemon.web.keys import Keys
    from edge_agent.daemon.web.serve import LocalServer

STOP_DEADLINE_S = 20.0
LOOK_EVERY_S = 10.0 if os.name == "posix" else 1.0  # Windows hears Ctrl-C between two waits
TOLD_EVERY_S = 60.0
HOUSEKEEPING_EVERY_S = 3_600.0
HOUSEKEEPING_MAX_S = 5.0
PORT_AGAIN_S = 60.0
ANSWER_SHARE = 1 / 6  # of what a sync or a backup may take: 10 min
_log = logging.getLogger("edge_agent")


def run(home: Path, *, deadline_s: float = STOP_DEADLINE_S) -> None:
    """Run the daemon until a signal ends it.

    Args:
        home: the device's home.
        deadline_s: how long stopping may take, seconds; what is on the wire then is offered again (G4).

    Raises:
        AlreadyRunning: another daemon serves this home.
        EdgeAgentError: the home can't be opened.
    """
    begin_small()
    settings, stop = load_settings(home), threading.Event()
    with one_daemon(home), closing(configure(home, settings)) as logs, Ending(stop, deadline_s):
        Daemon(home, settings, stop, logs, deadline_s).run()


class Daemon:
    """The daemon of a home.

    Args:
        home: the device's home.
        settings: its settings.
        stop: set when it is to end.
        logs: where the log goes.
        deadline_s: how long stopping may take, seconds.
    """

    def __init__(self, home: Path, settings: Settings, stop: threading.Event, logs: Logs, deadline_s: float) -> None:
        self._home = home
        self._settings = settings
        self._stop = stop
        self._logs = logs
        self._deadline_s = deadline_s
        self._clock = Clock()
        self._server: LocalServer | None = None
        self._keys: Keys | None = None
        self._port_said: str | None = None
        self._tell = _service_manager()

    def run(self) -> None:
        """Run until the stop event is set."""
        with ExitStack() as parts:
            agent = parts.enter_context(EdgeAgent(self._home, self._settings, clock=self._clock))
            timetable = Timetable(self._jobs(agent), self._clock)
            watchdog = Watchdog(
                self._clock,
                (
                    Part("a sync", agent.busy_since_s),
                    Part("a timed job", timetable.busy_since_s),
                    Part("the loopback API", self._unanswered_since_s, ANSWER_SHARE),
                ),
                agent.is_syncing,
                agent.start_again,
                timetable.plan_anew,
            )
            self._serve(agent)
            parts.callback(self._stop_serving)
            timetable.start()
            parts.callback(timetable.stop)
            agent.start()
            parts.callback(self._say_goodbye)
            self._announce()
            _log.info("edge-agent %s serves %s", __version__, self._settings.device_id)
            self._tell("READY=1")
            self._look_after(agent, watchdog, timetable)

    def _jobs(self, agent: EdgeAgent) -> list[Job]:
        every_s, dice = float(self._settings.heartbeat_interval_s), self._clock.dice
        jobs = [
            Job(
                "the night's work", agent.do_nights_work, lambda: seconds_to_night(agent.local_now()), by_the_clock=True
            ),
            Job("housekeeping", lambda: agent.keep_house(HOUSEKEEPING_MAX_S), lambda: HOUSEKEEPING_EVERY_S),
        ]
        if every_s:  # devices switched on together do not report together
            jobs.append(Job("heartbeat", lambda: agent.heartbeat(self._stop), lambda: every_s * (0.9 + 0.2 * dice())))
        if self._settings.local_port or self._settings.local_socket:
            jobs.append(Job("loopback API", lambda: self._serve(agent), lambda: PORT_AGAIN_S))
        return jobs

    # ---- the server --------------------------------------------------------------------------------------------

    def _serve(self, agent: EdgeAgent) -> None:
        """Open the loopback API, if it is wanted and not open. A port that is taken must not end syncing: it is told,
        and tried again."""
        if self._stop.is_set() or not (self._settings.local_port or self._settings.local_socket):
            return
        if self._server is not None:
            if self._server.is_alive():
                self._keep_token()
                return
            self._stop_serving()  # it ended by a fault, and the log says why
        from edge_agent.daemon.web.app import make_app
        from edge_agent.daemon.web.keys import Keys
        from edge_agent.daemon.web.serve import LocalServer

        settings = self._settings

        def sync_now() -> None:
            agent.sync_soon()

        try:
            keys = self._keys = self._keys or Keys.of_home(self._home)
            app = make_app(agent, keys, port=settings.local_port, sync_now=sync_now)
            server = LocalServer(
                app,
                port=settings.local_port or None,
                socket_path=Path(settings.local_socket) if settings.local_socket else None,
                group_access=settings.group_access,
            )
            server.start()
        except EdgeAgentError as error:
            if error.message != self._port_said:
                _log.error("no loopback API and no status page: %s (%s)", error.message, error.hint)
            self._port_said = error.message
            return
        self._server, self._port_said = server, None
        self._announce()
        where = f"http://127.0.0.1:{settings.local_port}/" if settings.local_port else settings.local_socket
        _log.info("loopback API and status page at %s", where)

    def _keep_token(self) -> None:
        if self._keys is not None and self._keys.keep(self._home):
            _log.warning("local-api.token was gone, and is written again, the same; to change it, stop this first")

    def _stop_serving(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop(self._deadline_s / 4)

    def _unanswered_since_s(self) -> float | None:
        return None if self._server is None else self._server.busy_since_s()

    def _announce(self) -> None:
        open_now = self._server is not None
        presence = Presence(
            os.getpid(),
            self._settings.local_port if open_now else 0,
            self._settings.local_socket if open_now else "",
            __version__,
            dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        try:
            announce(self._home, presence)
        except OSError as error:  # a full disk keeps nobody from syncing
            _log.warning("%s can't be written: %s", self._home, error.strerror)

    # ---- while it runs -----------------------------------------------------------------------------------------

    def _look_after(self, agent: EdgeAgent, watchdog: Watchdog, timetable: Timetable) -> None:
        alive_s = keepalive_s()
        pause_s = min(LOOK_EVERY_S, alive_s or LOOK_EVERY_S)
        told_s = float("-inf")
        while not self._stop.wait(pause_s):
            try:
                stuck = watchdog.look()
                if stuck is not None:  # its thread can't be ended
                    leave(1, f"{stuck} is stuck beyond help: this process ends, so that a new one can begin")
                timetable.catch_up()
                if alive_s is not None:
                    self._tell("WATCHDOG=1")
                if time.monotonic() - told_s >= TOLD_EVERY_S:
                    told_s = time.monotonic()
                    self._tell_more(agent)
            except Exception:  # noqa: BLE001 - a fault of ours must not end what sells and syncs (G11)
                _log.exception("looking after the daemon failed")

    def _tell_more(self, agent: EdgeAgent) -> None:
        self._logs.flush()
        give_back()
        if self._tell is not _nobody:
            self._tell(f"STATUS={_in_a_line(agent)}")

    def _say_goodbye(self) -> None:
        self._tell("STOPPING=1")
        _log.info("stopping")
        withdraw(self._home)


def _in_a_line(agent: EdgeAgent) -> str:
    """What a service manager shows beside the service's name."""
    from edge_agent.status import in_words

    try:
        return " ".join(in_words(agent.status(), dt.datetime.now(dt.UTC))[:3])
    except EdgeAgentError as error:
        return error.message


def _nobody(_state: str) -> None:
    """There is no service manager that listens."""


def _service_manager() -> Callable[[str], None]:
    if "NOTIFY_SOCKET" not in os.environ or sys.platform == "win32":
        return _nobody
    from sdnotify import SystemdNotifier

    notifier = SystemdNotifier()
    return lambda state: notifier.notify(state)
