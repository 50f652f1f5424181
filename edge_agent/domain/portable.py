"""The portable file of an outbox: frozen bytes with their identity, sealed by the device's key (docs/portable-file.md).

JSON Lines. The first line says whose outbox it is, the last one seals every byte before it, and each line between holds
one entry: its bytes as they were frozen, so that whoever takes them counts them once (G2, G4).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from edge_agent.domain import canonical
from edge_agent.domain.frozen import FrozenSale, FrozenUsage, read_sale, read_usage
from edge_agent.domain.sale import BODY_BYTES_MAX, parse_timestamp, timestamp_text
from edge_agent.errors import InvalidSale

FORMAT = "edge-agent-outbox"
VERSION = 1
KEY_BYTES = 32
KEY_ID_DIGITS = 16
LINE_BYTES_MAX = 8 * BODY_BYTES_MAX  # text in text doubles at most; the rest is room for head office's words
_FOOTER_BEGINS = b'{"sales":'
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_AGAIN = "Copy the file again, as it is; or export it again where it was made."


_HEX = "[0-9a-f]"
_Id = Annotated[str, msgspec.Meta(pattern=rf"^{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}\Z")]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z", max_length=200)]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose outbox a file holds. ``journal_id`` is that of the exporting journal; each entry carries its own."""

    format: str = FORMAT
    version: int = VERSION
    device_id: _Name
    store_id: _Id
    company_id: _Id
    journal_id: _Id
    exported_at: _Name
    key_id: Annotated[str, msgspec.Meta(pattern=rf"^{_HEX}{{{KEY_ID_DIGITS}}}\Z")]


class Line(msgspec.Struct, frozen=True):
    """One entry as the file holds it; ``body`` is the frozen text itself."""

    lane: Literal["sales", "usages"]
    external_id: str
    fingerprint: str
    state: Literal["pending", "quarantined", "delivered"]
    code: str | None
    reason: str | None
    recorded_at: str
    body: str


class _Format(msgspec.Struct):
    format: str
    version: int


@dataclass(frozen=True, slots=True)
class Portable:
    """An entry of a file that passed every check, and how its delivery stood where it was exported."""

    frozen: FrozenSale | FrozenUsage
    recorded_ms: int
    state: str
    code: str | None
    reason: str | None


def key_id(key: bytes) -> str:
    """The name of a device's key: it tells keys apart, and nothing of the key."""
    return hashlib.sha256(key).hexdigest()[:KEY_ID_DIGITS]


def frozen_of(lane: str, body: bytes) -> FrozenSale | FrozenUsage:
    """An entry from its bytes, when a journal can hold them and deliver them.

    Raises:
        InvalidSale: they are not the bytes of a sale or use as a journal froze it.
    """
    return read_usage(body) if lane == "usages" else read_sale(body)


def line_of(
    lane: Literal["sales", "usages"],
    body: bytes,
    *,
    external_id: str,
    fingerprint: str,
    state: Literal["pending", "quarantined", "delivered"],
    code: str | None,
    reason: str | None,
    recorded_ms: int,
) -> Line:
    """An entry as the file holds it.

    Raises:
        InvalidSale: ``DAMAGED``: its bytes are not those that were recorded.
    """
    frozen = frozen_of(lane, body)
    if (frozen.fingerprint, frozen.external_id) != (fingerprint, external_id):
        raise InvalidSale("DAMAGED", external_id, "its bytes are not those that were recorded", _AGAIN)
    return Line(lane, external_id, fingerprint, state, code, reason, _moment_text(recorded_ms), body.decode())


class Writer:
    """Writes a file line by line.

    Args:
        header: whose outbox it is.
        key: the device's key.
    """

    def __init__(self, header: Header, key: bytes) -> None:
        self._header = header
        self._seal = _Seal(key)

    def header(self) -> bytes:
        """The first line."""
        return self._sealed(self._header)

    def line(self, line: Line) -> bytes:
        """One entry; sales come before uses."""
        self._seal.counts[line.lane] += 1
        return self._sealed(line)

    def footer(self) -> bytes:
        """The last line."""
        return self._seal.footer()

    def _sealed(self, value: Header | Line) -> bytes:
        data = msgspec.json.encode(value) + b"\n"
        self._seal.add(data)
        return data


class Reader:
    """Reads a file line by line and checks all of it. What it yielded counts only once it came to its end.

    Args:
        lines: the file's lines, each with its line end, none longer than ``LINE_BYTES_MAX`` and one byte.
        company_id: this device's company; another one's file is refused.
        key: a key to prove the file's origin with, or None.
        must_prove: refuse a file that another key than ``key`` sealed.

    Raises:
        InvalidSale: ``NOT_AN_EXPORT``, ``NEWER_FORMAT``, ``FOREIGN_ID``, ``NOT_PROVED``, ``DAMAGED``.
    """

    def __init__(self, lines: Iterator[bytes], *, company_id: str, key: bytes | None, must_prove: bool = False) -> None:
        self._lines = lines
        self._number = 0
        first = self._next()
        self.header = self._header(first, company_id)
        fits = key is not None and key_id(key) == self.header.key_id
        if must_prove and not fits:
            raise InvalidSale(
                "NOT_PROVED",
                "--key",
                f"another key sealed this file: {self.header.key_id}, of {self.header.device_id}",
                f"Take the file device.key from the home of {self.header.device_id}.",
            )
        self.proved = fits  # a wrong HMAC raises before anyone could read this as the truth
        self._seal = _Seal(key if fits else None)
        self._seal.add(first)

    def entries(self) -> Iterator[Portable]:
        """The entries, sales first.

        Raises:
            InvalidSale: names the line and the mend.
        """
        while not (data := self._next()).startswith(_FOOTER_BEGINS):
            self._seal.add(data)
            line = self._decode(data)
            if line.lane == "sales" and self._seal.counts["usages"]:
                raise self._damaged("a sale stands behind the uses of promotions")
            self._seal.counts[line.lane] += 1
            yield self._entry(line)
        self._check_footer(data)

    def _next(self) -> bytes:
        self._number += 1
        data = next(self._lines, b"")
        if not data.endswith(b"\n"):
            raise self._damaged("the file was cut short" if len(data) <= LINE_BYTES_MAX else "the line is too long")
        return data

    def _header(self, data: bytes, company_id: str) -> Header:
        try:
            known = msgspec.json.decode(data, type=_Format)
        except (ValueError, RecursionError):  # bytes that are no UTF-8 too
            known = _Format("", 0)
        if known.format != FORMAT:
            raise InvalidSale(
                "NOT_AN_EXPORT", "line 1", "this is no outbox", "Give a file that edge-agent outbox export wrote."
            )
        if known.version != VERSION:
            raise InvalidSale(
                "NEWER_FORMAT",
                "line 1",
                f"a newer program wrote this file (version {known.version})",
                "Update edge-agent on this device, then import it again.",
            )
        try:
            header = msgspec.json.decode(data, type=Header)
        except ValueError as error:
            raise self._damaged(str(error)) from None
        if header.company_id != company_id:
            raise InvalidSale(
                "FOREIGN_ID",
                "company_id",
                f"these are sales of another company, {header.company_id}",
                "Import it on a device of that company.",
            )
        return header

    def _decode(self, data: bytes) -> Line:
        try:
            return msgspec.json.decode(data, type=Line)
        except UnicodeDecodeError:
            raise self._damaged("the line is not UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from None

    def _entry(self, line: Line) -> Portable:
        body = line.body.encode()
        if canonical.fingerprint(body) != line.fingerprint:
            raise self._damaged(f"the bytes of {line.external_id} have another fingerprint")
        try:
            frozen = frozen_of(line.lane, body)
            recorded_ms = (parse_timestamp(line.recorded_at, "recorded_at") - _EPOCH) // dt.timedelta(milliseconds=1)
        except InvalidSale as error:
            raise self._damaged(f"{error.field} of {line.external_id} {error.message}") from None
        if frozen.external_id != line.external_id:
            raise self._damaged(f"the bytes of {line.external_id} are those of another entry")
        return Portable(frozen, recorded_ms, line.state, line.code, line.reason)

    def _check_footer(self, data: bytes) -> None:
        # Compared as bytes: nothing in the last line is sealed, so nothing in it may be different.
        sealed = self._seal.footer()
        if not self.proved:
            sealed = _with_hmac_of(data, sealed)
        if not hmac.compare_digest(data, sealed):
            self._refuse_footer(data, sealed)
        if next(self._lines, b""):
            self._number += 1
            raise self._damaged("the file goes on behind its end")

    def _refuse_footer(self, data: bytes, sealed: bytes) -> None:
        if self.proved and _with_hmac_of(data, sealed) == data:
            raise InvalidSale(
                "NOT_PROVED",
                f"line {self._number}",
                f"the key of {self.header.device_id} did not seal these bytes: the file was changed",
                f"Export it again on {self.header.device_id}.",
            )
        raise self._damaged("the counts or the SHA-256 do not fit the lines before: the file was changed")

    def _damaged(self, what: str) -> InvalidSale:
        return InvalidSale("DAMAGED", f"line {self._number}", what, _AGAIN)


class _Seal:
    """What the last line says of all bytes before it."""

    def __init__(self, key: bytes | None) -> None:
        self.counts = {"sales": 0, "usages": 0}
        self._sha256 = hashlib.sha256()
        self._hmac = None if key is None else hmac.new(key, digestmod="sha256")

    def add(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._hmac is not None:
            self._hmac.update(data)

    def footer(self) -> bytes:
        """Without a key the HMAC is left empty."""
        sealed = "" if self._hmac is None else self._hmac.hexdigest()
        return _footer({**self.counts, "sha256": self._sha256.hexdigest(), "hmac": sealed})


def _footer(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode(fields) + b"\n"


def _with_hmac_of(data: bytes, sealed: bytes) -> bytes:
    """A last line with the HMAC of another one, where that has the form of one."""
    start = sealed.index(b'"hmac":"') + len(b'"hmac":"')
    word = data[start : start + 64]
    is_hmac = len(word) == 64 and not word.strip(b"0123456789abcdef")
    return sealed[:start] + (word if is_hmac else b"") + b'"}\n'


def _moment_text(ms: int) -> str:
    return timestamp_text(_EPOCH + dt.timedelta(milliseconds=ms))
