"""A support bundle holds what helps, and no secret, sale, customer or card number, wherever one stood."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent import Payment
from edge_agent.storage.incidents import raise_incident

Make = Callable[..., Any]
CARD = "4111 1111 1111 1111"


def read(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_what_helps(closed_till: Make, command: Make, tmp_path: Path) -> None:
    """The doctor's findings, status, settings, versions, files, what waits; a manifest of it all."""
    till = closed_till()
    target = tmp_path / "support.zip"
    result = command(till.agent.home, "--bundle", str(target))
    assert result.exit_code == 0
    files = read(target)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["files"] == {name: len(content) for name, content in files.items()}
    assert {"doctor.json", "status.json", "settings.json", "versions.json", "files.json"} <= set(files)
    assert {"outbox.json", "incidents.json"} <= set(files)
    for name in files:
        assert "not_there" not in json.loads(files[name]) if name.endswith(".json") else True, name
    assert json.loads(files["status.json"])["delivered"] == 1
    assert json.loads(files["settings.json"])["device_id"] == "pos-02"
    assert {"name", "bytes", "mode"} <= set(json.loads(files["files.json"])[0])
    if os.name == "posix":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_it_overwrites_nothing(closed_till: Make, command: Make, tmp_path: Path) -> None:
    """A file that is there stays, and is named."""
    target = tmp_path / "letter.zip"
    target.write_text("dear")
    result = command(closed_till().agent.home, "--bundle", str(target))
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert target.read_text() == "dear"


def test_no_canary_gets_out(make_till: Make, command: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets, card numbers, goods and customers put everywhere: none is in any byte of the bundle."""
    canaries = {
        "password": "canary-pass w0rd",
        "access": "canary-access-token",
        "refresh": "canary-refresh-token",
        "loopback": "canary-loopback-token",
        "environment": "canary-environment",
        "header": "canaryheader77",
        "reason": "canary-in-a-reason",
        "customer": "canary-customer",
        "cashier": "canary-cashier",
        "goods": "Canary seed 1 kg",
        "url": "canary-in-url",
        "query": "canaryinquery1",
    }
    till = make_till()
    home = till.agent.home
    key = os.urandom(32)
    (home / "device.key").write_bytes(key)
    (home / "local-api.token").write_text(canaries["loopback"] + "\n")
    said = (
        f"bad sale: Authorization: Bearer {canaries['header']} password={canaries['reason']} {CARD} "
        f"https://u:{canaries['url']}@ho.example.com/?access_token={canaries['query']}"
    )
    till.office.intercept = lambda method, path: (
        (400, {}, {"error": said, "code": "INVALID_SALE"}) if method == "POST" and "/sales/" in path else None
    )
    from edge_agent import Item, OneOff

    sale = till.agent.record_sale(
        [
            Item(
                product_data=OneOff(sku="CANARY", name=canaries["goods"]),
                quantity="1",
                unit_price="7500.00",
            )
        ],
        payments=[Payment("cash", "7500.00")],
        customer_id=canaries["customer"],
        cashier_id=canaries["cashier"],
    )
    till.agent.sync()
    with till.agent._journal.database.immediate() as connection:
        raise_incident(connection, "no backup", said, till.clock.now_ms())
        connection.execute("UPDATE sales SET state = 'quarantined', code = 'INVALID_SALE', reason = ?", (said,))
    till.agent.close()
    (home / "credentials.json").write_text(json.dumps({"password": canaries["password"]}))
    (home / "tokens.json").write_text(json.dumps({"access": canaries["access"], "refresh": canaries["refresh"]}))
    (home / "logs").mkdir()
    everything = " ".join(
        [said, *[canaries[name] for name in ("password", "access", "refresh", "loopback")], key.hex()]
    )
    for name in ("edge-agent.log", "edge-agent.log.1"):
        (home / "logs" / name).write_text(json.dumps({"message": everything}) + "\n" + everything)
    monkeypatch.setenv("EDGE_AGENT_PASSWORD", canaries["environment"])
    till.office.intercept = lambda *_: (500, {}, {"error": said + " " + canaries["password"], "code": "X"})
    target = tmp_path / "support.zip"
    result = command(home, "--bundle", str(target))
    files = read(target)
    assert sale.external_id.encode() in files["outbox.json"]
    assert b"INVALID_SALE" in files["outbox.json"]
    assert "logs/edge-agent.log.1" in files
    packed = b"\n".join([target.read_bytes(), *files.values(), *[name.encode() for name in files]])
    shown = result.stdout + result.stderr
    digits = "".join(c for c in packed.decode("latin-1") if c.isdigit() or c in " -")
    for name, canary in canaries.items():
        assert canary.encode() not in packed, name
        assert json.dumps(canary)[1:-1].encode() not in packed, name
        assert canary not in shown, name
    assert key not in packed
    assert key.hex().encode() not in packed
    assert CARD not in digits
    assert CARD.replace(" ", "") not in digits


def test_settings_that_hold_a_password_by_mistake(closed_till: Make, command: Make, tmp_path: Path) -> None:
    """An address with a password in it is refused as a setting; the doctor's words about it do not repeat it."""
    home = closed_till().agent.home
    path = home / "settings.toml"
    path.write_text(path.read_text().replace('url = "http://', 'url = "ftp://u:canary-in-settings@'))
    target = tmp_path / "support.zip"
    result = command(home, "--bundle", str(target))
    assert result.exit_code == 2
    assert b"canary-in-settings" not in b"".join(read(target).values())
    assert "canary-in-settings" not in result.stdout + result.stderr


@pytest.mark.parametrize("broken", ["journal.db", "catalog.db", "settings.toml", "credentials.json"])
def test_a_broken_home_is_packed_all_the_same(closed_till: Make, command: Make, tmp_path: Path, broken: str) -> None:
    """What can't be told is said in its place; the rest is there."""
    home = closed_till().agent.home
    (home / broken).write_bytes(b"\xff\xfe broken" * 500)
    target = tmp_path / "support.zip"
    command(home, "--offline", "--bundle", str(target))
    files = read(target)
    assert {"doctor.json", "versions.json", "files.json", "manifest.json"} <= set(files)


def test_a_long_log_is_cut(closed_till: Make, command: Make, tmp_path: Path) -> None:
    """The end of it is what is wanted."""
    home = closed_till().agent.home
    (home / "logs").mkdir()
    (home / "logs" / "edge-agent.log").write_text("".join(f"line {number} {'x' * 90}\n" for number in range(30_000)))
    target = tmp_path / "support.zip"
    command(home, "--offline", "--bundle", str(target))
    log = read(target)["logs/edge-agent.log"].decode()
    assert len(log) < 600_000
    assert log.startswith("line ")
    assert "line 29999" in log
