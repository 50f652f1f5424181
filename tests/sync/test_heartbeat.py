"""Heartbeats: what head office is told of a device, and that nothing hangs on them (contract, section 6)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge_agent import __version__
from edge_agent.head_office import beat

DEVICE = "pos-02"


def beats(till: Any) -> int:
    """How many heartbeats head office was asked to take."""
    return int(till.paths().count("POST heartbeat"))


def test_the_body_is_the_contracts(golden: Any, till: Any) -> None:
    """The golden file's fields, no more and no fewer, in both directions; head office keeps it as it is."""
    request = golden("heartbeat")["request"]
    told = msgspec.convert(request, beat.Heartbeat, strict=True)
    assert json.loads(beat.heartbeat_request(told)) == request
    assert till.agent.heartbeat()
    assert list(till.office.world.heartbeat(DEVICE)) == list(request)


def test_head_office_is_told_how_the_device_is(till: Any) -> None:
    """What waits, since when, what was refused, the version, the clock and the score: those of status."""
    till.sell(till.nobody)
    till.agent.sync()
    till.agent.health()
    till.office.stop()
    till.sell()
    till.office.start()
    assert till.agent.heartbeat()
    told, status = till.office.world.heartbeat(DEVICE), till.agent.status()
    assert told["oldest_pending_at"][:19] + "Z" == status["oldest_pending_at"]
    assert told == {
        "device_id": DEVICE,
        "journal_id": status["journal"]["id"],
        "agent_version": __version__,
        "pending": 1,
        "oldest_pending_at": told["oldest_pending_at"],
        "quarantined": 1,
        "data_version": status["datasets"]["promotions"]["version"] and told["data_version"],
        "clock_offset_ms": status["clock_offset_ms"],
        "health_score": status["health"]["score"],
    }
    assert told["data_version"] == json.loads(till.agent._store.all_meta()["version"])[0]
    assert status["head_office"]["heartbeat_at"] is not None


def test_before_anything_waits_there_is_no_oldest_and_no_score(till: Any) -> None:
    """Null is what is not known."""
    assert till.agent.heartbeat()
    told = till.office.world.heartbeat(DEVICE)
    assert (told["pending"], told["oldest_pending_at"], told["quarantined"]) == (0, None, 0)


def test_a_head_office_without_heartbeats_is_sent_none(baseline_till: Any) -> None:
    """Only the ability counts."""
    assert not baseline_till.agent.heartbeat()
    assert baseline_till.paths() == []
    assert baseline_till.agent.status()["head_office"]["heartbeat_at"] is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 429, 500, 503, 200])
def test_a_heartbeat_that_is_not_taken_disturbs_nothing(till: Any, clock: Any, status: int) -> None:
    """Whatever is answered: no error of syncing, nothing paused, sales go up, and no storm of requests."""
    said = "<html>please log in</html>" if status == 200 else {"error": "no"}
    till.office.intercept = lambda method, path: (status, {}, said) if "heartbeat" in path else None
    assert not till.agent.heartbeat()
    assert beats(till) == 1
    shown = till.agent.status()
    assert shown["last_error"] is None
    assert shown["head_office"]["heartbeat_at"] is None
    till.sell()
    assert not till.poll().errors
    assert till.books_agree()
    till.office.intercept = None
    clock.advance(hours=1)
    assert till.agent.heartbeat()


@pytest.mark.parametrize("status", [404, 405, 400])
def test_a_head_office_that_announces_heartbeats_and_takes_none_is_left_alone_for_an_hour(
    till: Any, clock: Any, status: int
) -> None:
    """It does not change its mind within minutes."""
    till.office.intercept = lambda method, path: (status, {}, {"error": "no"}) if "heartbeat" in path else None
    for _ in range(12):
        till.agent.heartbeat()
        clock.advance(300)
    assert beats(till) == 1
    till.agent.heartbeat()
    assert beats(till) == 2


def test_retry_after_is_obeyed(till: Any, clock: Any) -> None:
    """What head office asked for counts for heartbeats as well, whoever heard it."""
    till.office.intercept = lambda method, path: (429, {"Retry-After": "1000"}, {"error": "busy"})
    till.agent.heartbeat()
    till.agent.heartbeat()
    assert beats(till) == 1
    clock.advance(1_001)
    till.office.intercept = lambda method, path: (
        (429, {"Retry-After": "1000"}, {"error": "busy"}) if "sales" in path else None
    )
    till.sell()
    till.poll()
    assert not till.agent.heartbeat()
    assert beats(till) == 1
    clock.advance(1_010)
    assert till.agent.heartbeat()


def test_a_dead_head_office_gets_no_heartbeat(till: Any, clock: Any) -> None:
    """The circuit's probe is all it gets."""
    till.office.stop()
    till.poll()
    assert till.failures()
    till.office.start()
    till.office.clear_requests()
    clock.advance(hours=2)
    assert not till.agent.heartbeat()
    assert till.paths() == []
    till.poll()
    assert till.agent.heartbeat()


def test_a_slow_answer_holds_no_lock_and_is_left_at_a_stop(
    till: Any, make_settings_for: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    """While head office keeps a heartbeat waiting, syncing goes on; a shutdown does not wait for it."""
    till.agent.sync()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        real = till.agent._syncer.connect

        def connect(stop: threading.Event | None) -> Any:
            client = real(stop)
            client._settings = make_settings_for(till.office, url=url)
            return client

        till.agent._syncer.connect = connect
        stop, ended = threading.Event(), list[bool]()
        beating = threading.Thread(target=lambda: ended.append(till.agent.heartbeat(stop)))
        beating.start()
        asked, _ = silent.accept()
        till.agent._syncer.connect = real
        till.sell()
        assert not till.poll().errors
        assert not ended
        stop.set()
        wait_until(lambda: ended == [False])
        beating.join()
        asked.close()
    wait_until(lambda: not any(one.name == "edge-agent-heartbeat" for one in threading.enumerate()))
    assert till.books_agree()


def test_a_heartbeat_never_renews_the_sign_in(till: Any) -> None:
    """Two clients that refresh at once would spoil a refresh token: only the one that syncs renews."""
    till.office.intercept = lambda method, path: (401, {}, {"error": "expired"}) if "heartbeat" in path else None
    assert not till.agent.heartbeat()
    assert till.paths() == ["POST heartbeat"]
