"""A head office that asks for the device's own certificate: it is shown, and whatever is wrong with it is named."""

from __future__ import annotations

import datetime as dt
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from edge_agent.errors import InvalidSettings
from edge_agent.head_office.tls import verification
from edge_agent.settings import load_settings

Make = Callable[..., Any]
HERE = "127.0.0.1"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Papers:
    """Files of one device, as head office's own authority issued them."""

    folder: Path
    authority: trustme.CA

    @property
    def ca_file(self) -> str:
        path = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(path))
        return str(path)

    def issue(self, name: str = "device", *, by: trustme.CA | None = None, **times: dt.datetime) -> dict[str, str]:
        """The settings of a new certificate and its key."""
        leaf = (by or self.authority).issue_cert("pos-02", **times)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        leaf.cert_chain_pems[0].write_to_path(str(cert))
        leaf.private_key_pem.write_to_path(str(key))
        return {"client_cert_file": str(cert), "client_key_file": str(key)}


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path, trustme.CA())


def asking(authority: trustme.CA, tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """What a server presents that lets in only devices with a certificate of its authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HERE).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = tls
    return context


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_device_shows_its_certificate(open_shop: Make, papers: Papers, tls: ssl.TLSVersion) -> None:
    """With certificate and key of its own, a device of a private authority signs in, sells and pulls."""
    settings = {"ca_file": papers.ca_file, **papers.issue()}
    with open_shop(tls=asking(papers.authority, tls), **settings) as shop:
        shop.use(sale=shop.sell())
        shop.poll(0)
        assert shop.count().is_clean
        assert shop.till.catalogue_agrees()


def test_certificate_and_key_may_share_a_file(open_shop: Make, papers: Papers) -> None:
    """A file that holds the key and then the certificate is enough."""
    files = papers.issue()
    both = papers.folder / "both.pem"
    both.write_text(Path(files["client_key_file"]).read_text() + Path(files["client_cert_file"]).read_text())
    with open_shop(tls=asking(papers.authority), ca_file=papers.ca_file, client_cert_file=str(both)) as shop:
        shop.sell()
        shop.poll(0)
        assert shop.count().is_clean


def test_hints_come_over_the_same_certificate(open_shop: Make, papers: Papers) -> None:
    """The stream of hints, a connection of its own, shows the certificate as well."""
    settings = {"ca_file": papers.ca_file, **papers.issue(), "poll_interval_s": 3600}
    with open_shop(tls=asking(papers.authority), **settings) as shop:
        told = threading.Event()

        def hint(exchange: Any) -> None:
            told.set()
            exchange.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: changed\ndata: {}\n\n")
            exchange.close()

        shop.line.plan = lambda request: hint if request.route == "GET events" else None
        shop.till.agent.start()
        assert told.wait(20)
        shop.till.agent.stop()


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["none", "expired", "another authority's"])
def test_what_head_office_does_not_accept_costs_nothing(
    open_shop: Make, papers: Papers, shown: str, tls: ssl.TLSVersion
) -> None:
    """Without an accepted certificate no byte of a sale arrives, selling goes on, and afterwards all goes up."""
    now = dt.datetime.now(dt.UTC)
    good = papers.issue()
    bad = {
        "none": {"client_cert_file": "", "client_key_file": ""},
        "expired": papers.issue("old", not_before=now - 20 * DAY, not_after=now - DAY),
        "another authority's": papers.issue("foreign", by=trustme.CA()),
    }[shown]
    with open_shop(tls=asking(papers.authority, tls), ca_file=papers.ca_file, **good) as shop:
        shop.till.agent.close()
        shop.till.agent = shop.reopen(shop.till.agent.home, **bad)
        shop.sell()
        shop.line.clear()
        shop.poll(400)
        assert not shop.line.seen
        words = shop.words()
        assert "safe on this device" in words
        # A server that closes at once may cut its own word off: then the line looks dead, and no more can be known.
        assert re.search("certificate|can't be reached|handshake failure", words), words
        shop.restart()
        shop.heal()
        assert shop.count().is_clean


@pytest.mark.parametrize(
    ("alert", "says"),
    [
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "wants a certificate"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)", "does not know who issued"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", "has expired"),
        ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad certificate", "does not accept"),
    ],
)
def test_alerts_are_told_in_words(alert: str, says: str) -> None:
    """What a server says about the certificate reaches the shop as a sentence, also after the handshake."""
    import httpx

    from edge_agent.head_office.answers import as_unreachable

    error = httpx.ReadError("x")
    error.__cause__ = ssl.SSLError(1, alert)
    told = as_unreachable(error)
    assert (told.reason, told.sent) == ("tls", False)
    assert says in told.message
    broken = httpx.ReadError("x")
    broken.__cause__ = ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] bad record mac")
    assert (as_unreachable(broken).reason, as_unreachable(broken).sent) == ("network", True)


def _locked(path: Path) -> None:
    """Puts a passphrase on a key."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    lock = serialization.BestAvailableEncryption(b"hunter2")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))


def _spoil(papers: Papers, fault: str) -> dict[str, str]:
    files = papers.issue()
    cert, key = Path(files["client_cert_file"]), Path(files["client_key_file"])
    match fault:
        case "no certificate file":
            cert.unlink()
        case "no key file":
            key.unlink()
        case "a folder":
            files["client_cert_file"] = str(papers.folder)
        case "certificate is no PEM":
            cert.write_bytes(b"\x30\x82\x01\x0a")
        case "key is no PEM":
            key.write_text("nothing\n")
        case "key is left out":
            files["client_key_file"] = ""
        case "key of another":
            files["client_key_file"] = papers.issue("other")["client_key_file"]
        case "a passphrase":
            _locked(key)
        case "a key alone":
            files["client_cert_file"] = ""
    return files


SAYS = {
    "no certificate file": ("client_cert_file", "can't be read: No such file"),
    "no key file": ("client_key_file", "can't be read: No such file"),
    "a folder": ("client_cert_file", "can't be read"),
    "certificate is no PEM": ("client_cert_file", "holds no certificate"),
    "key is no PEM": ("client_key_file", "holds no key"),
    "key is left out": ("client_key_file", "holds no key"),
    "key of another": ("client_key_file", "does not belong to the certificate"),
    "a passphrase": ("client_key_file", "wants a passphrase"),
    "a key alone": ("client_key_file", "a key alone"),
}


@pytest.mark.parametrize("fault", SAYS)
def test_files_that_can_not_be_used_are_named(
    make_settings_for: Make, papers: Papers, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting at fault and its mend are said; nothing waits for a passphrase at a terminal."""
    key, words = SAYS[fault]
    settings = make_settings_for(None, url="https://127.0.0.1:9", **_spoil(papers, fault))
    with pytest.raises(InvalidSettings, match=re.escape(words)) as caught:
        verification(settings)
    assert caught.value.key == key
    assert caught.value.message.startswith(f"{key}: ")
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_selling_goes_on_with_a_certificate_that_can_not_be_used(open_shop: Make, papers: Papers) -> None:
    """A key that vanished stops syncing and says so; sales are kept and go up once it is back."""
    files = papers.issue()
    key = Path(files["client_key_file"])
    with open_shop(tls=asking(papers.authority), ca_file=papers.ca_file, **files) as shop:
        content = key.read_bytes()
        key.unlink()
        shop.restart()
        shop.sell()
        report = shop.till.agent.sync()
        assert any("client_key_file" in error.message for error in report.errors)
        assert shop.till.agent.status()["pending"] == 1
        key.write_bytes(content)
        shop.heal()
        assert shop.count().is_clean


def test_plain_http_reads_no_certificates(make_settings_for: Make, papers: Papers) -> None:
    """A trial on this machine needs no files; its settings may name them already."""
    files = {"client_cert_file": "/nowhere/device.pem", "client_key_file": "/nowhere/device.key"}
    assert verification(make_settings_for(None, url="http://127.0.0.1:9", **files)) is False


def test_nothing_older_than_tls_1_2_is_spoken(make_settings_for: Make, papers: Papers) -> None:
    """The context of every set of files checks names and authorities and refuses old protocols."""
    for files in ({"ca_file": papers.ca_file}, papers.issue(), {"ca_file": papers.ca_file, **papers.issue()}):
        context = verification(make_settings_for(None, url="https://127.0.0.1:9", **files))
        assert isinstance(context, ssl.SSLContext)
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_paths_are_settings_of_the_file(open_shop: Make, papers: Papers) -> None:
    """What settings.toml says is what is used after a restart."""
    files = papers.issue()
    with open_shop(tls=asking(papers.authority), ca_file=papers.ca_file, **files) as shop:
        assert load_settings(shop.till.agent.home).client_cert_file == files["client_cert_file"]
