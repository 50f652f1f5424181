"""Lines that are broken in every way, each for real: what the doctor says, and that it stops at the first cause."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from tests.wire.middleman import Line

Make = Callable[..., Any]
DAY = dt.timedelta(days=1)
AFTER_NAME = ["connection", "certificate", "answer", "sign-in", "ids", "abilities", "clock"]
AFTER_ANSWER = ["certificate", "sign-in", "ids", "abilities", "clock"]


@pytest.fixture
def answering() -> Iterator[Make]:
    """Opens ports where something else than a head office answers: ``answering(bytes)`` gives the port."""
    listeners: list[socket.socket] = []

    def open_one(said: bytes | None) -> int:
        listener = socket.create_server((("127.0.0.1"), 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if said is None:  # reset
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        connection.recv(10)
                    else:
                        connection.recv(65_536)
                        connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield open_one
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def open_line() -> Iterator[Make]:
    lines: list[Line] = []

    def open_one(office: Any, tls: Any) -> Line:
        lines.append(Line(office.port, tls).start())
        return lines[-1]

    yield open_one
    for line in lines:
        line.stop()


def http(status: str, body: str, *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])
    return f"{head}\r\n\r\n{body}".encode()


def test_a_shop_in_order(closed_till: Make, call_doctor: Make) -> None:
    """Nothing is wrong: the doctor says so, and exits with 0."""
    till = closed_till()
    till.office.clear_requests()
    said = call_doctor(till.agent.home)
    assert said.wrong == []
    assert said.noted == ["syncing"]  # nothing runs in the background in this test
    assert said.exit == 0
    assert said.words.startswith("Nothing is wrong.")
    assert "fine  answer: Head office answers." in said.words
    assert "POST sales" not in till.paths()


def test_a_till_that_sells_meanwhile(till: Any, call_doctor: Make) -> None:
    """The doctor looks while a program has everything open and syncs: nobody is kept waiting, nothing is sent."""
    till.sell()
    till.agent.start()
    from edge_agent.doctor.report import examine

    report = examine(till.agent.home, clock=till.clock, environment={})
    assert {check.name for check in report.checks if check.state == "bad"} == set()
    syncing = next(check for check in report.checks if check.name == "syncing")
    assert (syncing.state, syncing.words) == ("fine", "A program sends and fetches in the background.")
    till.sell()
    till.agent.check_journal()


def test_a_name_that_cant_be_found(closed_till: Make, call_doctor: Make, set_setting: Make) -> None:
    """The name does not exist, really looked up: said in plain words, and nothing after it is asked."""
    home = closed_till().agent.home
    set_setting(home, url="https://ho.example.invalid")
    said = call_doctor(home)
    assert said.wrong == ["name"]
    assert said.about("name").words == "The name ho.example.invalid can't be found."
    assert "typing mistake" in said.about("name").mend
    assert said.skipped[-7:] == AFTER_NAME
    assert said.about("connection").words == "Not asked: the name can't be found."
    assert said.exit == 4


def test_a_name_service_that_is_silent(closed_till: Make, call_doctor: Make, set_setting: Make) -> None:
    """A look-up that never ends costs the doctor its time limit, no more."""
    home = closed_till().agent.home
    set_setting(home, url="https://ho.example.com")
    never = threading.Event()
    said = call_doctor(home, lookup=lambda *_: never.wait(30), deadline_s=0.2)
    never.set()
    assert said.about("name").words == "Nobody tells where ho.example.com is: the network's name service is silent."
    assert said.exit == 4


def test_a_port_that_is_closed(closed_till: Make, call_doctor: Make) -> None:
    """Head office's program is down."""
    till = closed_till()
    till.office.stop()
    said = call_doctor(till.agent.home)
    assert said.wrong == ["connection"]
    assert said.about("connection").words == (
        f"The computer of head office (127.0.0.1) is there, but nothing answers on port {till.office.port}."
    )
    assert said.exit == 4


def test_a_log_in_page(closed_till: Make, call_doctor: Make, answering: Make, set_setting: Make) -> None:
    """A hotel's or mall's network answers everything with a web page."""
    home = closed_till().agent.home
    page = http("200 OK", "<html><title>Welcome to MallNet</title>Log in</html>", "Content-Type: text/html")
    set_setting(home, url=f"http://127.0.0.1:{answering(page)}")
    said = call_doctor(home)
    assert said.wrong == ["answer"]
    assert said.about("answer").words == "Something answers, but it is not head office: a web page came back."
    assert "log in" in said.about("answer").mend
    assert said.skipped == AFTER_ANSWER
    assert said.exit == 4


def test_an_address_that_has_moved(closed_till: Make, call_doctor: Make, answering: Make, set_setting: Make) -> None:
    """A redirect is told with the new address, and never followed."""
    home = closed_till().agent.home
    moved = http("301 Moved Permanently", "", "Location: https://new.example.com/api/v1/sync/version/")
    set_setting(home, url=f"http://127.0.0.1:{answering(moved)}")
    said = call_doctor(home)
    assert said.wrong == ["answer"]
    assert said.about("answer").words == (
        "Head office's address has moved to https://new.example.com/api/v1/sync/version/."
    )
    assert said.about("answer").mend.startswith("Ask head office whether it has moved.")


def test_a_line_that_breaks_off(closed_till: Make, call_doctor: Make, answering: Make, set_setting: Make) -> None:
    """Something resets each connection after it was made."""
    home = closed_till().agent.home
    set_setting(home, url=f"http://127.0.0.1:{answering(None)}")
    said = call_doctor(home)
    assert said.wrong == ["answer"]
    assert said.about("answer").words == "The connection broke off before head office had answered."
    assert said.exit == 4


@pytest.mark.parametrize("path", ["shop", "wrong/place"])
def test_a_wrong_path(closed_till: Make, call_doctor: Make, set_setting: Make, path: str) -> None:
    """The address has something behind it that head office does not know."""
    till = closed_till()
    set_setting(till.agent.home, url=f"{till.office.url}/{path}")
    said = call_doctor(till.agent.home)
    assert said.wrong == ["answer"]
    assert said.about("answer").words == "127.0.0.1 answers, but there is no head office at this address (url)."
    assert said.exit == 4


def test_head_office_is_out_of_order(closed_till: Make, call_doctor: Make) -> None:
    """An error of head office's own is head office's to mend."""
    till = closed_till()
    till.office.intercept = lambda *_: (500, {}, {"error": "boom", "code": "INTERNAL_ERROR"})
    said = call_doctor(till.agent.home)
    assert said.wrong == ["answer"]
    assert said.about("answer").words == "Head office is out of order (HTTP 500: boom)."
    assert "head office's to mend" in said.about("answer").mend


CERTIFICATES = {
    "expired": (
        "Head office's certificate has expired: check the date and time of this device, then tell head office.",
        "Check the date and time of this device first",
    ),
    "not yet valid": (
        "Head office's certificate is not valid yet: check the date and time of this device.",
        "Check the date and time of this device first",
    ),
    "another address": (
        "Head office's certificate is for another address: check url in settings.toml.",
        "Check url in settings.toml.",
    ),
    "unknown authority": (
        "Head office's certificate comes from an authority this device does not know.",
        "A private authority's file goes into ca_file.",
    ),
}


@pytest.mark.parametrize("fault", CERTIFICATES)
def test_a_certificate_that_is_not_right(
    closed_till: Make,
    call_doctor: Make,
    open_line: Make,
    set_setting: Make,
    presenting: Make,
    authority: trustme.CA,
    ca_file: str,
    fault: str,
) -> None:
    """Each fault of a certificate has its own words and mend; nothing is said to a stranger."""
    till = closed_till()
    now = dt.datetime.now(dt.UTC)
    present: ssl.SSLContext = {
        "expired": lambda: presenting(authority, not_before=now - 20 * DAY, not_after=now - DAY),
        "not yet valid": lambda: presenting(authority, not_before=now + DAY, not_after=now + 20 * DAY),
        "another address": lambda: presenting(authority, "elsewhere.example"),
        "unknown authority": lambda: presenting(trustme.CA()),
    }[fault]()
    line = open_line(till.office, present)
    set_setting(till.agent.home, url=line.url.replace("http:", "https:"), ca_file=ca_file)
    said = call_doctor(till.agent.home)
    assert said.wrong == ["certificate"]
    words, mend = CERTIFICATES[fault]
    assert said.about("certificate").words == words
    assert said.about("certificate").mend.startswith(mend)
    assert said.about("answer").words == "Not asked: head office has not proved who it is."
    assert not line.seen
    assert said.exit == 4


def test_a_private_authority_is_fine(
    closed_till: Make,
    call_doctor: Make,
    open_line: Make,
    set_setting: Make,
    presenting: Make,
    authority: trustme.CA,
    ca_file: str,
) -> None:
    """With its file in ca_file, head office proves who it is."""
    till = closed_till()
    line = open_line(till.office, presenting(authority))
    set_setting(till.agent.home, url=line.url.replace("http:", "https:"), ca_file=ca_file)
    said = call_doctor(till.agent.home)
    assert said.wrong == []
    assert said.about("certificate").state == "fine"


def test_an_authority_file_that_is_gone(closed_till: Make, call_doctor: Make, set_setting: Make) -> None:
    """The setting names a file that is not there."""
    till = closed_till()
    set_setting(till.agent.home, url=till.office.url.replace("http:", "https:"), ca_file="/nowhere/ca.pem")
    said = call_doctor(till.agent.home)
    assert said.wrong == ["certificate"]
    assert said.about("certificate").words.startswith("ca_file: /nowhere/ca.pem can't be used")


def test_a_wrong_password(closed_till: Make, call_doctor: Make) -> None:
    """Head office refuses the sign-in: exit 5, and no id is asked about."""
    till = closed_till()
    (till.agent.home / "credentials.json").write_text('{"password": "not-this-one"}')
    said = call_doctor(till.agent.home)
    assert said.wrong == ["sign-in"]
    assert said.about("sign-in").words == (
        f"Head office refuses the user name {till.office.username!r} or its password."
    )
    assert "edge-agent init again" in said.about("sign-in").mend
    assert said.skipped == ["certificate", "ids", "abilities"]
    assert said.exit == 5
    assert "not-this-one" not in said.words


def test_no_password(closed_till: Make, call_doctor: Make) -> None:
    """The file with the password is gone."""
    till = closed_till()
    (till.agent.home / "credentials.json").unlink()
    said = call_doctor(till.agent.home)
    assert said.wrong == ["password"]
    assert said.about("password").words == (
        "This device's password is not there: once its present sign-in ends, nothing goes up any more."
    )
    assert said.exit == 5


@pytest.mark.parametrize("noun", ["company", "store", "brand"])
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_a_wrong_id(
    closed_till: Make, make_office: Make, call_doctor: Make, set_setting: Make, noun: str, profile: str
) -> None:
    """The id that is wrong is named."""
    till = closed_till(make_office(profile=profile), currency="IDR", timezone="Asia/Jakarta")
    wrong = "dead0000-0000-4000-8000-00000000dead"
    set_setting(till.agent.home, **{f"{noun}_id": wrong})
    said = call_doctor(till.agent.home)
    assert said.wrong == ["ids"]
    assert said.about("ids").words == f"Head office does not know the {noun} {wrong} for this account."
    assert "set company_id, store_id and brand_id" in said.about("ids").mend
    assert said.exit == 3


@pytest.mark.parametrize(
    ("hours", "words"), [(1, "1 h 0 min fast"), (-1, "59 min slow|1 h 0 min slow"), (24 * 40, "40 days fast")]
)
def test_a_clock_that_is_wrong(closed_till: Make, call_doctor: Make, hours: int, words: str) -> None:
    """The till's clock is told beside head office's, with how to set it."""
    till = closed_till()
    till.clock.advance(hours=hours)
    said = call_doctor(till.agent.home)
    assert said.wrong == ["clock"]
    assert said.about("clock").words in [f"This device's clock is {one}." for one in words.split("|")]
    assert said.about("clock").mend.startswith("Set this device's date and time right")
    assert said.exit == 3


def test_a_year_that_cant_be(closed_till: Make, call_doctor: Make) -> None:
    """A flat battery: the device believes in another century."""
    till = closed_till()
    till.clock.advance(days=-365 * 20)
    said = call_doctor(till.agent.home, offline=True)
    assert said.wrong == ["date"]
    assert said.about("date").words.startswith("This device believes it is ")


def test_an_older_head_office(closed_till: Make, make_office: Make, call_doctor: Make) -> None:
    """A baseline head office is no fault: what it can't do is told with what follows from it."""
    till = closed_till(make_office(profile="baseline"), currency="IDR", timezone="Asia/Jakarta")
    said = call_doctor(till.agent.home)
    assert said.wrong == []
    assert said.about("abilities").state == "warn"
    assert said.about("abilities").words.startswith("This is an older head office (baseline): prices that were deleted")
    assert "refunds and voids stay here" in said.about("abilities").words
    assert said.exit == 0


def test_a_proxy_in_the_environment(closed_till: Make, call_doctor: Make, answering: Make) -> None:
    """A proxy that nobody meant is named, and so is its being closed."""
    till = closed_till()
    closed = answering(b"")
    environment = {"HTTP_PROXY": f"http://user:geheim1@127.0.0.2:{closed}"}
    said = call_doctor(till.agent.home, environment=environment)
    assert said.about("address").words == (
        f"Head office is asked through a proxy (127.0.0.2:{closed}), as the environment says."
    )
    assert "geheim1" not in said.words
    assert call_doctor(till.agent.home, environment={**environment, "NO_PROXY": "127.0.0.1"}).wrong == []


def test_nobody_is_asked_offline(closed_till: Make, call_doctor: Make) -> None:
    """With --offline no connection is made."""
    till = closed_till()
    till.office.clear_requests()
    said = call_doctor(till.agent.home, offline=True)
    assert said.wrong == []
    assert till.office.requests == []
    assert said.about("answer").words == "Not asked: --offline was said."


def test_a_doctor_leaves_the_sign_in_alone(closed_till: Make, call_doctor: Make) -> None:
    """Tokens that change with each use are the syncer's: none is used, none is written, and the next sync goes on."""
    till = closed_till()
    tokens = (till.agent.home / "tokens.json").read_bytes()
    till.office.clear_requests()
    call_doctor(till.agent.home)
    assert (till.agent.home / "tokens.json").read_bytes() == tokens
    assert "POST refresh" not in till.paths()
    assert till.paths().count("POST token") == 1
