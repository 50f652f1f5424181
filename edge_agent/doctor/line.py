"""Checks of the line to head office, one step after the other, so that the first that fails is the one to mend."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from edge_agent.doctor.check import Check, Device, counted
from edge_agent.errors import (
    ContractBroken,
    EdgeAgentError,
    InvalidSettings,
    NotSignedIn,
    Refused,
    Unreachable,
)
from edge_agent.head_office import wire
from edge_agent.head_office.auth import SecretFiles
from edge_agent.head_office.probe import Probe, certificate_words, tls_context
from edge_agent.settings import CREDENTIALS_NAME
from edge_agent.setup import check_with_head_office

DEADLINE_S = 10.0  # for each check
STEP_S = 5.0  # for one connection or answer
_CABLE = "Check the network cable or the wireless network of this device, then the router."
# What a native head office can do, and what a shop goes without where it can't.
ABILITIES = {
    wire.CURSOR: "prices that were deleted there go here only with the daily full list",
    wire.SALES_BATCH: "sales go up one by one; refunds and voids stay here",
    wire.RECEIPTS: "what head office has of this device's sales can't be asked",
    wire.STOCK: "this till does not know how many are in stock",
    wire.DIGEST: "prices are compared by fetching the whole list",
    wire.EVENTS: "changes come when this device asks, not at once",
    wire.GZIP_REQUESTS: "sales go up uncompressed",
    "heartbeat": "head office does not see whether this device is well",
}
_MOVED = (
    "Ask head office whether it has moved. If so, put the new address into url in settings.toml: only its beginning, "
    "up to the name."
)
T = TypeVar("T")
Lookup = Callable[[str, int], Any]


class Line:
    """The line of one device, as far as it has been looked at.

    Args:
        device: the device; its settings can be read.
        lookup: finds a name's addresses, as :func:`socket.getaddrinfo` does.
        deadline_s: for each check, seconds.
    """

    def __init__(self, device: Device, *, lookup: Lookup = socket.getaddrinfo, deadline_s: float = DEADLINE_S) -> None:
        self.device = device
        self._lookup = lookup
        self._deadline_s = deadline_s
        address = urlsplit(device.told.url)
        self.host = address.hostname or ""
        self.is_safe = address.scheme == "https"
        self.port = address.port or (443 if self.is_safe else 80)
        self.proxy = _proxy(device, address.scheme, self.host, self.port)
        # Where a connection really goes.
        to = urlsplit(self.proxy if "//" in self.proxy else f"//{self.proxy}") if self.proxy else address
        self.first_host, self.first_port = to.hostname or self.host, to.port or (self.port if not self.proxy else 80)
        self.probe: Probe | None = None

    def close(self) -> None:
        """Close the connections."""
        if self.probe is not None:
            self.probe.close()

    def within(self, work: Callable[[], T]) -> T:
        """Do something that may hang, for as long as a person waits.

        Raises:
            TimeoutError: it took longer; it goes on in a thread that ends with this program.
        """
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append((work(), None))
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                outcome.append((None, error))

        thread = threading.Thread(target=run, name="doctor", daemon=True)
        thread.start()
        thread.join(self._deadline_s)
        if not outcome:
            raise TimeoutError
        value, error = outcome[0]
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    @property
    def whom(self) -> str:
        """Whom the first step asks."""
        return f"the proxy {self.first_host}" if self.proxy else f"head office ({self.first_host})"


def _proxy(device: Device, scheme: str, host: str, port: int) -> str:
    """The proxy that requests go through; empty for none."""
    named = {
        name.lower().removesuffix("_proxy"): value
        for name, value in device.environment.items()
        if name.lower().endswith("_proxy") and value
    }
    found = named.get(scheme) or named.get("all") or ""
    if found and urllib.request.proxy_bypass_environment(f"{host}:{port}", named):  # type: ignore[attr-defined]
        return ""
    return found


# ---- the steps ---------------------------------------------------------------------------------------------------


def address(line: Line) -> Check:
    """Whether the way to head office goes over a proxy, or unprotected."""
    settings = line.device.told
    if line.proxy:
        return Check(
            "address",
            "warn",
            f"Head office is asked through a proxy ({line.first_host}:{line.first_port}), as the environment says.",
            "If that is not meant, remove HTTPS_PROXY and HTTP_PROXY from the environment, or name head office in "
            "NO_PROXY.",
        )
    if not line.is_safe and settings.insecure_http:
        return Check(
            "address",
            "warn",
            f"The line to {line.host} is not protected: everyone on it can read sales and the password.",
            "Use an https address in settings.toml, except for a trial in a closed network.",
        )
    return Check("address", "fine", f"Head office is {line.host}, port {line.port}.")


def name(line: Line) -> Check:
    """Whether the name can be found."""
    host = line.first_host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return Check("name", "fine", f"{host} is an address already; no name has to be found.")
    try:
        found = line.within(lambda: line._lookup(host, line.first_port))
    except TimeoutError:
        return Check("name", "bad", f"Nobody tells where {host} is: the network's name service is silent.", _CABLE)
    except (OSError, UnicodeError):
        return Check(
            "name",
            "bad",
            f"The name {host} can't be found.",
            "Is the internet down for everything else too? Then check the cable or wireless network and the router. If "
            "only this is down, check url in settings.toml for a typing mistake.",
        )
    return Check(
        "name",
        "fine",
        f"The name {host} is found ({counted(len({one[4][0] for one in found}), 'address', 'addresses')}).",
    )


def port(line: Line) -> Check:
    """Whether a connection can be made."""
    try:
        line.within(lambda: socket.create_connection((line.first_host, line.first_port), STEP_S).close())
    except ConnectionRefusedError:
        return Check(
            "connection",
            "bad",
            f"The computer of {line.whom} is there, but nothing answers on port {line.first_port}.",
            "Head office's program may be down: try again in some minutes, then call head office. Check the port of "
            "url in settings.toml.",
        )
    except TimeoutError:
        return Check(
            "connection",
            "bad",
            f"{line.whom[:1].upper()}{line.whom[1:]} does not answer: no connection within {STEP_S:.0f} seconds.",
            f"{_CABLE} A firewall that blocks port {line.first_port} looks like this too.",
        )
    except OSError as error:
        return Check("connection", "bad", f"There is no way to {line.whom}: {error.strerror or error}.", _CABLE)
    return Check("connection", "fine", f"A connection to {line.whom} can be made.")


def certificate(line: Line) -> Check:
    """Whether head office proves who it is."""
    if not line.is_safe:
        return Check("certificate", "skipped", "Not asked: the address is http, which proves nothing.")
    if line.proxy:
        return Check("certificate", "skipped", "Not asked alone: the connection goes through a proxy.")
    try:
        context = tls_context(line.device.told)
        assert context is not None, "https always has a context"
        line.within(lambda: _shake_hands(line, context))
    except InvalidSettings as error:
        return Check("certificate", "bad", f"{error.message}.", error.hint)
    except ssl.SSLError as error:
        words, mend = certificate_words(error)
        return Check("certificate", "bad", f"{words[:1].upper()}{words[1:]}.", _longer(mend, error))
    except (TimeoutError, OSError):
        return Check(
            "certificate",
            "bad",
            f"The connection to {line.host} broke off before head office had proved who it is.",
            "Try again. If it stays so, something between here and head office (a firewall, a log-in page) cuts it.",
        )
    return Check("certificate", "fine", "Head office proves who it is, and nobody on the line can read along.")


def _shake_hands(line: Line, context: ssl.SSLContext) -> None:
    with (
        socket.create_connection((line.first_host, line.first_port), STEP_S) as raw,
        context.wrap_socket(raw, server_hostname=line.host),
    ):
        pass


def _longer(mend: str, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in (9, 10):
        return (
            "Check the date and time of this device first, and set them right if they are wrong. If they are right, "
            "tell head office."
        )
    return mend


def answer(line: Line) -> Check:
    """Whether it is a head office that answers."""
    device = line.device
    secrets = SecretFiles(device.home, CREDENTIALS_NAME).secrets
    line.probe = probe = Probe(device.told, secrets, device.clock, deadline_s=STEP_S)
    try:
        line.within(probe.hello)
    except TimeoutError:
        return Check("answer", "bad", "Head office did not answer in time.", "Try again in some minutes.")
    except (Refused, NotSignedIn):
        pass  # it speaks with us: the next checks tell what it says
    except Unreachable as error:
        return _no_head_office(line, error)
    except EdgeAgentError as error:
        return Check("answer", "bad", f"{error.message[:1].upper()}{error.message[1:]}.", error.hint)
    return Check("answer", "fine", "Head office answers.")


def _no_head_office(line: Line, error: Unreachable) -> Check:
    words = f"{error.message[:1].upper()}{error.message[1:]}."
    if error.reason == "not_contract":
        return Check(
            "answer",
            "bad",
            "Something answers, but it is not head office: a web page came back.",
            "Does this network want a log-in? Open a web page in a browser on this device and log in. Else check url "
            "in settings.toml.",
        )
    if error.reason == "redirect":
        return Check("answer", "bad", words, _MOVED)
    if error.reason == "route":
        return Check(
            "answer",
            "bad",
            f"{line.host} answers, but there is no head office at this address (url).",
            "Check url in settings.toml: it is head office's address without anything behind it, such as "
            "https://ho.example.com.",
        )
    if error.reason in ("server", "busy"):
        return Check(
            "answer", "bad", words, "This is head office's to mend. It is asked again by itself; selling goes on."
        )
    if error.reason in ("network", "incomplete"):
        return Check(
            "answer",
            "bad",
            "The connection broke off before head office had answered.",
            f"Try again. If it stays so: {_CABLE[:1].lower()}{_CABLE[1:]}",
        )
    return Check("answer", "bad", words, error.hint)


def sign_in(line: Line) -> Check:
    """Whether head office lets this device in."""
    assert line.probe is not None, "asked after the answer"
    try:
        line.within(line.probe.sign_in)
        if line.device.told.auth_scheme == "Token":
            line.within(lambda: line.probe and line.probe.version(None))
    except TimeoutError:
        return Check("sign-in", "bad", "Head office did not answer the sign-in in time.", "Try again in some minutes.")
    except Refused:
        pass  # of an id: the next check names it
    except EdgeAgentError as error:
        return _not_let_in(line, error)
    return Check("sign-in", "fine", f"Head office lets {line.device.told.username or 'this device'} in.")


def _not_let_in(line: Line, error: EdgeAgentError) -> Check:
    if isinstance(error, NotSignedIn):
        return Check(
            "sign-in",
            "bad",
            f"Head office refuses the user name {line.device.told.username!r} or its password."
            if line.device.told.auth_scheme == "Bearer"
            else "Head office refuses this device's key.",
            "Ask head office for the device's user name and password, and run edge-agent init again. Selling goes on.",
        )
    return Check("sign-in", "bad", f"{error.message[:1].upper()}{error.message[1:]}.", error.hint)


def ids(line: Line) -> Check:
    """Whether company, store and brand are this device's."""
    assert line.probe is not None, "asked after the answer"
    probe = line.probe
    try:
        line.within(lambda: check_with_head_office(probe, line.device.told))
    except TimeoutError:
        return Check("ids", "bad", "Head office did not answer in time.", "Try again in some minutes.")
    except Refused as error:
        mend = "Ask head office for this store's ids, and set company_id, store_id and brand_id in settings.toml."
        return Check("ids", "bad", f"{error.message[:1].upper()}{error.message[1:]}.", mend)
    except EdgeAgentError as error:
        hint = error.hint or "Tell head office; it is asked again by itself."
        return Check("ids", "bad", f"{error.message[:1].upper()}{error.message[1:]}.", hint)
    return Check("ids", "fine", "Company, store and brand are known to head office.")


def abilities(line: Line) -> Check:
    """What this head office can do, and what follows from what it can't."""
    assert line.probe is not None, "asked after the answer"
    probe = line.probe
    try:
        told, _ = line.within(lambda: probe.version(None))
    except (TimeoutError, EdgeAgentError, ContractBroken):
        return Check("abilities", "skipped", "Not asked: head office did not tell.")
    if told is None:
        return Check("abilities", "skipped", "Not asked: head office did not tell.")
    lacks = [consequence for ability, consequence in ABILITIES.items() if ability not in (told.capabilities or ())]
    if not lacks:
        return Check("abilities", "fine", "Head office can do everything this device can use.")
    profile = "an older head office (baseline)" if told.profile == "baseline" else "a head office with gaps"
    return Check(
        "abilities",
        "warn",
        f"This is {profile}: {'; '.join(lacks)}.",
        "Nothing to do here; ask head office whether an update is planned.",
    )


STEPS: tuple[tuple[str, Callable[[Line], Check], tuple[str, ...]], ...] = (
    ("address", address, ()),
    ("name", name, ()),
    ("connection", port, ("name",)),
    ("certificate", certificate, ("connection",)),
    ("answer", answer, ("certificate", "connection")),
    ("sign-in", sign_in, ("answer", "password")),
    ("ids", ids, ("sign-in",)),
    ("abilities", abilities, ("ids",)),
)
