"""One request: who asks, what for, within which reach, and how the answer goes out (contract sections 1 and 2)."""

import json
import zlib
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request, Response, Security
from fastapi.security import HTTPBearer

from ho_stub.accounts import Account
from ho_stub.errors import ContractError, bad_request
from ho_stub.sale import is_id
from ho_stub.world import World

BODY_BYTES_MAX = 1024 * 1024
DRAIN_BYTES_MAX = 64 * BODY_BYTES_MAX
GZIP_LEVEL = 1
GZIP_FROM_BYTES = 500


class Call:
    """A signed-in request. Raises NotSignedIn when `account` is first asked for."""

    def __init__(self, request: Request, raw: bytes = b"") -> None:
        self.request = request
        self._raw = raw
        self.world: World = request.app.state.world
        self._account: Account | None = None

    @property
    def account(self) -> Account:
        """Who asks."""
        if self._account is None:
            self.world.catch_up()  # before anything is answered: this property is the first thing a route asks for
            account = self.world.accounts.who(self.request.headers.get("authorization"))
            if not account.has_company:
                raise no_company(account.username, native=self.world.native)
            if account.store_id is not None:
                self.world.rate_limits.count(account.store_id)
            self._account = account
        return self._account

    def company(self, company_id: str | None) -> str:
        """The company asked for, if the account belongs to it."""
        found = self._id("company", company_id)
        if found != self.world.company_id:
            self._out_of_reach("company", found)
        return found

    def store(self, store_id: str | None) -> dict[str, Any]:
        """The store asked for, if the account reaches it."""
        found = self._id("store", store_id)
        store = self.world.store(found)
        if store is None or self.account.store_id not in (None, found):
            self._out_of_reach("store", found)
        return store

    def brand(self, brand_id: str | None) -> str:
        """The brand asked for: one of the company's; for a device, that of its store."""
        found = self._id("brand", brand_id)
        own = (self.world.store(self.account.store_id) or {}).get("brand_id") if self.account.store_id else None
        if not self.world.has_brand(found) or (own is not None and own != found):
            self._out_of_reach("brand", found)
        return found

    def body(self) -> dict[str, Any]:
        """The request's body: a JSON object of at most 1 MiB before compression.

        Raises:
            ContractError: 413 PAYLOAD_TOO_LARGE, or 400 INVALID_REQUEST for anything that is no such JSON.
        """
        body = self._raw
        if len(body) > BODY_BYTES_MAX:
            raise too_large(f"The body is larger than {BODY_BYTES_MAX} bytes.")
        if self.world.native and self.request.headers.get("content-encoding", "").lower() == "gzip":
            body = _unpacked(body)
        try:
            found = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exc:
            raise bad_request("The body is not JSON.") from exc
        if not isinstance(found, dict):
            raise bad_request("The body must be a JSON object.")
        return found

    def _id(self, noun: str, value: str | None) -> str:
        _ = self.account  # 401 comes before any other fault
        if not value:
            raise bad_request(f"{noun}_id is missing.", f"MISSING_{noun.upper()}_ID")
        if not is_id(value):
            raise bad_request(f"{noun}_id must be a UUID in lower case.", "INVALID_ID")
        return value

    def _out_of_reach(self, noun: str, value: str) -> NoReturn:
        """A native head office doesn't tell whether it exists; a baseline one says that it doesn't."""
        if self.world.native:
            raise ContractError(403, "FORBIDDEN", f"This account has no access to {noun} {value}.")
        raise ContractError(404, f"{noun.upper()}_NOT_FOUND", f"There is no {noun} {value}.")

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """JSON bytes, compressed when the client takes gzip and the company's settings allow it."""
        headers = {"Vary": "Accept-Encoding"} | (headers or {})
        if (
            len(body) >= GZIP_FROM_BYTES
            and takes_gzip(self.request.headers.get("accept-encoding", ""))
            and self.world.settings()["enable_compression"]
        ):
            packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        return Response(body, status, headers, "application/json")


async def _call(request: Request) -> Call:
    return Call(request)


async def _call_with_body(request: Request) -> Call:
    """Reads at most a little more than the limit; the rest of a body too large is read and dropped, within reason, so
    that the client reads our answer instead of a reset."""
    body = b""
    received_bytes = 0
    async for chunk in request.stream():
        received_bytes += len(chunk)
        if len(body) <= BODY_BYTES_MAX:
            body += chunk
        if received_bytes > DRAIN_BYTES_MAX:
            break
    return Call(request, body)


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, BODY_BYTES_MAX + 1)
    except zlib.error as exc:
        raise bad_request("The body is announced as gzip and isn't.") from exc
    if len(plain) > BODY_BYTES_MAX:
        raise too_large(f"The body is larger than {BODY_BYTES_MAX} bytes before compression.")
    if not unpacker.eof:
        raise bad_request("The gzip body ends too early.")
    return plain


def no_company(username: str, *, native: bool) -> ContractError:
    """This account reaches nothing yet."""
    status, code = (403, "FORBIDDEN") if native else (404, "COMPANY_NOT_FOUND")
    return ContractError(status, code, f"The account {username} belongs to no company yet.")


def too_large(sentence: str) -> ContractError:
    """413: the client halves its batch."""
    return ContractError(413, "PAYLOAD_TOO_LARGE", sentence)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for offer in accept_encoding.lower().split(","):
        name, _, parameters = offer.strip().partition(";")
        if name in ("gzip", "*") and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            return True
    return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# For the API's page only: who asks is found out by Call, so that a bad token gets the contract's own 401.
signed_in = Security(HTTPBearer(auto_error=False, description="`Bearer <access>`, or `Token <static key>`"))
Caller = Annotated[Call, Depends(_call)]
Sender = Annotated[Call, Depends(_call_with_body)]
