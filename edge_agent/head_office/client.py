"""The client of the wire contract: one method a route, each answer a value or an error sorted by what to do."""

from __future__ import annotations

import gzip
import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import tenacity

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.errors import ContractBroken, NotSignedIn, Refused, Unreachable
from edge_agent.head_office import answers, wire
from edge_agent.head_office.auth import SecretFiles
from edge_agent.head_office.body import bound, read_body
from edge_agent.head_office.lean import httpx
from edge_agent.head_office.tls import verification
from edge_agent.settings import Settings
from edge_agent.timekeeper import Timekeeper

if TYPE_CHECKING:
    from edge_agent.head_office.events import EventStream

SYNC = "/api/v1/sync/"
COMPRESS_FROM_BYTES = 1_024
QUICK_RETRIES = 2
HEADER_LENGTH_MAX = 8_000  # servers refuse longer ones
QUICK_WAIT_MAX_S = 2.0
_CREATED = 201
RETRY_AFTER_WAITED_S = 5.0  # a longer one is the outbox's business

T = TypeVar("T")


class HeadOffice(Protocol):
    """Head office as the sync's use cases see it: the seam that tests may replace."""

    timekeeper: Timekeeper
    epoch: str | None
    capabilities: frozenset[str]
    download_method: str
    answered: bool

    def reconnect(self) -> None:
        """Begin with a new connection."""

    def sign_in(self) -> None:
        """Sign in anew."""

    def version(self, etag: str | None) -> tuple[wire.Version | None, str | None]:
        """The version answer with its ETag; None when it is still that of ``etag``."""

    def page(self, dataset: str, *, cursor: str | None, limit: int | None, updated_since: str | None) -> wire.Page:
        """One answer of a download."""

    def stock(self, *, journal_id: str, cursor: str | None, limit: int) -> wire.StockPage:
        """One page of the stock feed."""

    def digest(self, dataset: str) -> wire.Digest:
        """Head office's digest of a dataset."""

    def leaves(self, dataset: str, wanted: Sequence[int], of: int) -> wire.Leaves:
        """All rows of some leaves of a dataset."""

    def push_sales(self, bodies: Sequence[bytes]) -> wire.SalesAnswer:
        """Offer a batch of sales."""

    def push_sale(self, body: bytes) -> wire.SingleSale:
        """Offer one sale to a baseline head office."""

    def has_sale(self, external_id: str) -> bool:
        """Whether head office lists a sale."""

    def push_usages(self, bodies: Sequence[bytes]) -> wire.UsagesAnswer:
        """Offer a batch of usages."""

    def receipts(self, *, device_id: str, journal_id: str) -> wire.Receipts:
        """What head office holds of a journal."""


class HttpHeadOffice:
    """Head office over HTTP. Not for several threads at once: one syncer at a time.

    Args:
        settings: addresses, limits and identity.
        secrets: what the device signs in with.
        clock: the device's clock.
        stop: set to cut the short waits between retries, at shutdown.
        quick_retries: how often a request is repeated inside one call when the line stumbles.
        transport: replaces the network in tests.
        timekeeper: learns head office's time from its answers; None for one of this client's own.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: SecretFiles,
        clock: Clock,
        *,
        stop: threading.Event | None = None,
        quick_retries: int = QUICK_RETRIES,
        transport: httpx.BaseTransport | None = None,
        timekeeper: Timekeeper | None = None,
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._stop = stop or threading.Event()
        self._quick_retries = quick_retries
        self._transport = transport
        self._client: httpx.Client | None = None
        self.timekeeper = timekeeper or Timekeeper(clock)
        self.epoch: str | None = None
        self.capabilities: frozenset[str] = frozenset()
        self.download_method = "GET"
        self.answered = False  # whether a head office answered at all since this client was made
        self._scope = {"company_id": settings.company_id, "store_id": settings.store_id}

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def reconnect(self) -> None:
        """Drop the connections; the next request makes a new one."""
        self.close()

    # ---- one exchange ----------------------------------------------------------------------------------------

    def _http(self) -> httpx.Client:
        if self._client is None:
            self._client = self._new_http(accept="application/json", encoding="gzip")
            bound(self._client, self._settings.answer_deadline_s)
        return self._client

    def _new_http(self, *, accept: str, encoding: str) -> httpx.Client:
        settings = self._settings
        # httpx logs whole URLs at INFO; ids and cursors don't belong into a shop's log.
        logging.getLogger("httpx").setLevel(max(logging.getLogger("httpx").level, logging.WARNING))
        return httpx.Client(
            base_url=settings.url.rstrip("/"),
            timeout=httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
            follow_redirects=False,  # a token never travels to another address
            verify=verification(settings),
            transport=self._transport,
            headers={
                "User-Agent": f"edge-agent/{__version__}",
                "X-Device-Id": settings.device_id,
                "Accept-Encoding": encoding,
                "Accept": accept,
                "Cache-Control": "no-cache",  # a proxy's memory is no head office
            },
        )

    def _exchange(
        self, method: str, path: str, *, params: dict[str, str] | None, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, httpx.Headers, bytes]:
        """One request and its whole answer; raises only when there is no complete answer."""
        settings = self._settings
        headers = {**headers, "X-Request-Id": str(uuid.uuid4())}
        if content is not None:
            headers["Content-Type"] = "application/json"
            if wire.GZIP_REQUESTS in self.capabilities and len(content) >= COMPRESS_FROM_BYTES:
                headers["Content-Encoding"] = "gzip"
                content = gzip.compress(content, compresslevel=1, mtime=0)
        sent_s = self._clock.elapsed_s()
        try:
            with self._http().stream(method, path, params=params, content=content, headers=headers) as response:
                received_s = self._clock.elapsed_s()
                body = read_body(response, bytes_max=settings.answer_bytes_max, deadline_s=settings.answer_deadline_s)
                self.answered = True
                self.epoch = response.headers.get("X-HO-Epoch", self.epoch)
                date = answers.date_of_head_office(response.status_code, response.headers, body)
                if date is not None:
                    self.timekeeper.hears(date, sent_s, received_s)
                return response.status_code, response.headers, body
        except httpx.HTTPError as error:
            raise answers.as_unreachable(error) from error
        except httpx.InvalidURL as error:
            raise Unreachable(f"head office's address can't be used: {error}", reason="redirect", sent=False) from error

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        repeatable: bool = True,
    ) -> tuple[int, httpx.Headers, bytes]:
        """A signed-in request, with a sign-in or refresh when needed and short retries when the line stumbles."""

        def once() -> tuple[int, httpx.Headers, bytes]:
            signed = {**(headers or {}), "Authorization": self._authorization()}
            answer = self._exchange(method, path, params=params, content=content, headers=signed)
            for renew in (self._renew, self.sign_in):  # a token that was refreshed may be refused all the same
                if answer[0] != 401 or self._settings.auth_scheme == "Token":
                    break
                renew()
                signed["Authorization"] = self._authorization()
                answer = self._exchange(method, path, params=params, content=content, headers=signed)
            if not (200 <= answer[0] < 300 or answer[0] in (304, 405)):
                raise answers.as_error(*answer, self._clock.now())
            return answer

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 + self._quick_retries) | tenacity.stop_when_event_set(self._stop),
            wait=_quick_wait(self._clock),
            retry=tenacity.retry_if_exception(lambda error: _worth_a_quick_retry(error, repeatable)),
            sleep=tenacity.sleep_using_event(self._stop),
            reraise=True,
        )
        return retrying(once)

    # ---- signing in ------------------------------------------------------------------------------------------

    def _authorization(self) -> str:
        secrets = self._secrets.secrets
        if self._settings.auth_scheme == "Token":
            if not secrets.password:
                raise _not_signed_in("this device has no key for head office")
            return _header_value(f"Token {secrets.password}")
        if not _is_sendable(secrets.access or ""):
            self._renew()
        return _header_value(f"Bearer {self._secrets.secrets.access}")

    def _renew(self) -> None:
        """A fresh access token: by the refresh token, else by the password (contract, section 2)."""
        if self._settings.auth_scheme == "Token":
            raise _not_signed_in("head office does not accept this device's key")
        refresh = self._secrets.secrets.refresh
        if refresh:
            path = self._settings.token_path.rstrip("/") + "/refresh/"
            try:
                tokens = self._token_request(path, {"refresh": refresh})
            except (Unreachable, Refused) as error:
                if isinstance(error, Unreachable) and error.line_is_down:
                    raise
                tokens = None  # this head office can't refresh; the password still signs in
            if tokens is not None:
                self._secrets.keep_tokens(tokens.access, tokens.refresh or refresh)
                return
        self.sign_in()

    def sign_in(self) -> None:
        """Sign in by user name and password.

        Raises:
            NotSignedIn: head office refuses them, or there is no password.
            Unreachable: head office can't be asked.
        """
        if self._settings.auth_scheme == "Token":
            return  # a static key has no sign-in; the next request shows whether it is accepted
        password = self._secrets.secrets.password
        if not password:
            raise _not_signed_in("this device has no password for head office")
        request = {"username": self._settings.username, "password": password}
        tokens = self._token_request(self._settings.token_path, request)
        if tokens is None:
            raise _not_signed_in(f"head office refuses the user name {self._settings.username!r} or its password")
        self._secrets.keep_tokens(tokens.access, tokens.refresh)
        self.download_method = "GET"  # tried anew after a new sign-in

    def _token_request(self, path: str, request: dict[str, str]) -> wire.Tokens | None:
        """Tokens, or None when head office refuses (401, or 400 from a baseline one)."""
        answer = self._exchange("POST", path, params=None, content=msgspec.json.encode(request), headers={})
        if answer[0] in (400, 401, 403):
            return None
        if answer[0] == 404:
            raise answers.no_sign_in_here(path)
        if not 200 <= answer[0] < 300:
            raise answers.as_error(*answer, self._clock.now())
        tokens = wire.decode(answer[2], wire.Tokens)
        if not _is_sendable(tokens.access):
            raise answers.broken("head office gives a token that can't be sent back")
        return tokens

    # ---- downloads -------------------------------------------------------------------------------------------

    def _download(self, path: str, params: dict[str, str], headers: dict[str, str] | None = None) -> tuple[Any, ...]:
        """A download by the method head office takes: ``GET``, or ``POST`` after a 405 (contract, section 1)."""
        if self.download_method == "GET":
            answer = self._ask("GET", path, params=params, headers=headers)
            if answer[0] != 405:
                return answer
            if "POST" not in answer[1].get("allow", "POST").upper():  # some write it small, some leave it out
                raise answers.broken("head office takes neither GET nor POST for downloads")
            self.download_method = "POST"
        answer = self._ask("POST", path, content=msgspec.json.encode(params), headers=headers)
        if answer[0] == 405:
            self.download_method = "GET"
            raise answers.broken("head office takes neither GET nor POST for downloads")
        return answer

    def version(self, etag: str | None) -> tuple[wire.Version | None, str | None]:
        """The version answer (contract, section 3).

        Args:
            etag: that of the last answer, if there was one.

        Returns:
            The answer and its ETag; None when nothing changed (304).

        Raises:
            Unreachable, NotSignedIn, Refused, ContractBroken: by what to do.
        """
        status, headers, body = self._download(
            SYNC + "version/", self._scope, {"If-None-Match": etag} if etag and _is_sendable(etag) else None
        )
        if status == 304:
            return None, etag
        version = wire.decode(body, wire.Version)
        self.capabilities = version.capabilities or frozenset()
        etag = headers.get("etag")
        return version, etag if etag and _is_sendable(etag) else None

    def probe(self, dataset: str, params: dict[str, str]) -> None:
        """Ask for one row of a download, only to see whether its parameters are accepted.

        Raises:
            Refused: they are not.
        """
        # A baseline head office knows no limit: ask it for what will only change in the far future.
        few = {"limit": "1"} if wire.CURSOR in self.capabilities else {"updated_since": "2999-01-01T00:00:00Z"}
        self._download(f"{SYNC}{dataset}/", {**params, **few})

    def page(
        self,
        dataset: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        updated_since: str | None = None,
    ) -> wire.Page:
        """One answer of ``categories``, ``products`` or ``promotions`` (contract, section 4).

        Args:
            dataset: which.
            cursor: native: where the last page ended; None begins a snapshot.
            limit: native: rows a page.
            updated_since: baseline: rows changed at or after it.

        Raises:
            CursorLost: take a snapshot.
            Unreachable, NotSignedIn, Refused, ContractBroken: by what to do.
        """
        params = {**self._scope, "brand_id": self._settings.brand_id}
        if cursor is not None:
            params["cursor"] = cursor
        if limit is not None:
            params["limit"] = str(limit)
        if updated_since is not None:
            params["updated_since"] = updated_since
        body = self._download(f"{SYNC}{dataset}/", params)[2]
        return wire.decode(body, wire.PAGE_TYPES[dataset])

    def stock(self, *, journal_id: str, cursor: str | None, limit: int) -> wire.StockPage:
        """One page of the stock feed (contract, section 4: stock)."""
        params = {
            **self._scope,
            "device_id": self._settings.device_id,
            "journal_id": journal_id,
            "limit": str(limit),
        }
        if cursor is not None:
            params["cursor"] = cursor
        return wire.decode(self._download(f"{SYNC}stock/", params)[2], wire.StockPage)

    def receipts(self, *, device_id: str, journal_id: str) -> wire.Receipts:
        """What head office holds of a journal (contract, section 6)."""
        params = {**self._scope, "device_id": device_id, "journal_id": journal_id}
        return wire.decode(self._download(f"{SYNC}receipts/", params)[2], wire.Receipts)

    def digest(self, dataset: str) -> wire.Digest:
        """Head office's digest of a dataset (contract, section 6)."""
        params = {**self._scope, "brand_id": self._settings.brand_id, "dataset": dataset, "leaves": "256"}
        return wire.decode(self._download(f"{SYNC}digest/", params)[2], wire.Digest)

    def leaves(self, dataset: str, wanted: Sequence[int], of: int) -> wire.Leaves:
        """All rows of some leaves of a dataset (contract, section 6).

        Args:
            dataset: which.
            wanted: numbers of leaves, below ``of``.
            of: how many leaves there are.
        """
        params = {
            **self._scope,
            "brand_id": self._settings.brand_id,
            "leaves": ",".join(map(str, wanted)),
            "leaves_of": str(of),
        }
        return wire.decode(self._download(f"{SYNC}{dataset}/", params)[2], wire.LEAVES_TYPES[dataset])

    def events(self) -> EventStream | None:
        """Head office's hints, on a connection of their own (contract, section 6); to be opened.

        It uses the sign-in that is kept and never renews it: two clients that refresh at once would spoil a refresh
        token that head office changes with each use.

        Returns:
            None where tests replace the network: then there is no connection to wait on.

        Raises:
            NotSignedIn: no access token is kept.
            InvalidSettings: a file of certificates can't be used.
        """
        from edge_agent.head_office.events import EventStream

        if self._transport is not None:
            return None
        headers = {
            "Authorization": self._kept_authorization(),
            "X-Request-Id": str(uuid.uuid4()),
        }
        return EventStream(
            self._new_http(accept="text/event-stream", encoding="identity"),
            SYNC + "events/",
            {"store_id": self._settings.store_id},
            headers,
            clock=self._clock,
            deadline_s=self._settings.read_timeout_s,
        )

    def _kept_authorization(self) -> str:
        """The sign-in that is kept, never renewed: for what runs beside the client that syncs."""
        secrets, scheme = self._secrets.secrets, self._settings.auth_scheme
        token = secrets.password if scheme == "Token" else secrets.access
        return _header_value(f"{scheme} {token}" if token else "")

    # ---- uploads ---------------------------------------------------------------------------------------------

    def _post(self, path: str, content: bytes, read: Callable[[bytes], T], *, repeatable: bool) -> tuple[int, T]:
        status, _, body = self._ask("POST", path, content=content, repeatable=repeatable)
        if status in (304, 405):
            raise Unreachable("head office does not take uploads at this address (HTTP 405)", reason="route")
        return status, read(body)

    def push_sales(self, bodies: Sequence[bytes]) -> wire.SalesAnswer:
        """Offer a batch of frozen sales (contract, section 5: sales, native)."""
        content = wire.sales_request(self._settings.device_id, self.timekeeper.offset_ms(), bodies)
        return self._post(SYNC + "sales/", content, wire.sales_answer, repeatable=True)[1]

    def push_sale(self, body: bytes) -> wire.SingleSale:
        """Offer one sale to a baseline head office. Never repeated inside the call: it may not know duplicates."""
        status, answer = self._post(
            self._settings.sales_path, body, lambda said: wire.decode(said, wire.SingleSale), repeatable=False
        )
        named = answer.external_id
        if named is None:
            about_it = status == _CREATED or answer.id is not None
        else:
            about_it = named == msgspec.json.decode(body)["external_id"]
        if not about_it:  # something that answers 200 to everything must not swallow sales (G3)
            raise answers.broken("head office's answer to a sale is about something else")
        return answer

    def has_sale(self, external_id: str) -> bool:
        """Whether head office lists a sale of this id (contract, section 5)."""
        answer = self._ask("GET", self._settings.sales_path, params={"external_id": external_id})
        found = wire.decode(answer[2], wire.SalesFound)
        return any(sale.get("external_id") == external_id for sale in found.results)

    def push_usages(self, bodies: Sequence[bytes]) -> wire.UsagesAnswer:
        """Offer a batch of frozen usages (contract, section 5: usage logs)."""
        return self._post(SYNC + "usage/", wire.usages_request(bodies), wire.usages_answer, repeatable=True)[1]

    def heartbeat(self, beat: bytes) -> bytes:
        """Tell head office how this device is (contract, section 6: heartbeat).

        It is asked once, by the sign-in that is kept: like :meth:`events`, this runs beside the client that syncs.

        Args:
            beat: the body.

        Returns:
            The answer's body; empty where head office asks nothing of this device.

        Raises:
            Unreachable, NotSignedIn, Refused: head office did not take it.
        """
        headers = {"Authorization": self._kept_authorization()}
        answer = self._exchange("POST", SYNC + "heartbeat/", params=None, content=beat, headers=headers)
        if not 200 <= answer[0] < 300 or answer[2].lstrip()[:1] not in (b"", b"{"):  # a portal answers 200 as well
            raise answers.as_error(*answer, self._clock.now())
        return answer[2]


def _is_sendable(token: str) -> bool:
    return 0 < len(token) <= HEADER_LENGTH_MAX and token.isascii() and token.isprintable()


def _header_value(value: str) -> str:
    if _is_sendable(value):
        return value
    raise _not_signed_in("this device's key or token holds characters that can't be sent")


def _not_signed_in(message: str) -> NotSignedIn:
    return NotSignedIn(
        message, hint="Run edge-agent init again with the device's user name and password. Selling goes on."
    )


def _worth_a_quick_retry(error: BaseException, repeatable: bool) -> bool:
    """A stumble of the line, when asking again can't count twice (G4)."""
    if not isinstance(error, Unreachable) or (error.sent and not repeatable):
        return False
    if error.retry_after_s is not None:
        return error.retry_after_s <= RETRY_AFTER_WAITED_S
    return error.reason in ("network", "incomplete", "busy", "server")


def _quick_wait(clock: Clock) -> Any:
    """Seconds between quick retries: full jitter, and never less than a ``Retry-After``."""

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        jitter: float = clock.dice() * min(QUICK_WAIT_MAX_S, 0.2 * 2**state.attempt_number)
        asked = getattr(error, "retry_after_s", None)
        return jitter if asked is None else float(asked) + jitter

    return wait


__all__ = ["ContractBroken", "HeadOffice", "HttpHeadOffice", "Refused"]
