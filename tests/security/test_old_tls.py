"""Nobody on the line can talk a device into an old protocol."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from edge_agent.clock import Clock
from edge_agent.errors import Unreachable
from edge_agent.head_office.auth import SecretFiles, Secrets
from edge_agent.head_office.client import HttpHeadOffice


@pytest.fixture
def old_server(tmp_path: Path) -> Iterator[tuple[int, str, list[bytes]]]:
    """A server that speaks TLS 1.1 at most: its port, its authority's file, and what it heard."""
    authority = trustme.CA()
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(5)
            try:
                with context.wrap_socket(connection, server_side=True) as line:
                    heard.append(line.recv(1024))
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1], str(file), heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_an_old_protocol_is_refused(
    old_server: tuple[int, str, list[bytes]], make_settings_for: Callable[..., Any]
) -> None:
    """A server that offers TLS 1.1 at most hears no byte of a password."""
    port, ca_file, heard = old_server
    settings = make_settings_for(None, url=f"https://127.0.0.1:{port}", ca_file=ca_file)
    secrets = SecretFiles(None, "", Secrets(password="secret"))
    office = HttpHeadOffice(settings, secrets, Clock(), quick_retries=0)
    with pytest.raises(Unreachable) as caught:
        office.sign_in()
    office.close()
    assert caught.value.reason == "tls"
    assert heard == []
