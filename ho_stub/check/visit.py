"""A visit to one head office: who asks, and what is asked once and read by many checks."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ho_stub.check.line import Answer, Line, NotTheContract
from ho_stub.check.options import TOKEN_PATH, TOKEN_PATH_ELSEWHERE, Options

SYNC = "/api/v1/sync/"
DATASETS = ("categories", "products", "promotions")
CAPABILITIES = ("cursor", "sales_batch", "receipts", "stock", "digest", "heartbeat", "events", "gzip_requests")
ADDITIONS = ("orders",)  # beyond the contract (docs/decisions/0029); nobody needs them
ROWS_MAX = 2_000_000
PAGES_MAX = 5_000
RENEWALS_MAX = 5  # of the sign-in


class SignInRefused(Exception):
    """Nobody can be signed in; the message says what to do."""


class Skip(Exception):
    """There is nothing to check here; the message says why."""


@dataclass
class Whole:
    """A whole list: its rows and, of each answer, what stood beside them. `began` and `ended`: seconds since 1970."""

    dataset: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The rows' ids, as they came."""
        return [str(row.get("id")) for row in self.rows]

    @property
    def cursor(self) -> str | None:
        """Where the list ends."""
        found = self.pages[-1].get("next_cursor") if self.pages else None
        return found if isinstance(found, str) else None


@dataclass
class Left:
    """What a check with --write leaves behind, in sentences."""

    sentences: list[str] = field(default_factory=list)


class Visit:
    """One check of one head office. `token_path` is the one that worked; `post_only`: downloads go by POST."""

    def __init__(self, options: Options, line: Line) -> None:
        self.options = options
        self.line = line
        self.token_path = options.token_path or TOKEN_PATH
        self.tokens: dict[str, Any] = {}
        self.refused: Answer | None = None  # the 405 to a download by GET
        self.post_only = False
        self.left = Left()
        self.notes: dict[str, Any] = {}  # what one check found and a later one wants
        self.device_id = "conformance-check"
        self.journal_id = str(uuid.uuid4())
        self.began = time.time()
        self._wholes: dict[str, Whole] = {}
        self._unreadable: set[str] = set()
        self._renewals = 0

    # -- signing in

    def sign_in(self) -> None:
        """Get tokens, or take the static key. Raises SignInRefused, NoAnswer."""
        options = self.options
        if options.auth_scheme != "Bearer":
            self.line.authorization = f"{options.auth_scheme} {options.password}"
            return
        body = {"username": options.username, "password": options.password}
        answer = self.line.ask("POST", self.token_path, body=body, signed_in=False)
        if answer.status in (404, 405) and options.token_path is None:
            elsewhere = self.line.ask("POST", TOKEN_PATH_ELSEWHERE, body=body, signed_in=False)
            if elsewhere.status not in (404, 405):
                self.token_path, answer = TOKEN_PATH_ELSEWHERE, elsewhere
        if answer.status in (404, 405):
            raise SignInRefused(f"there is no token at {self.token_path}; name the path with --token-path")
        if answer.status in (400, 401, 403):
            raise SignInRefused(f"the user name or the password is wrong ({answer.status} from {self.token_path})")
        self.tokens = answer.object(200, 201)
        if not isinstance(self.tokens.get("access"), str):
            raise NotTheContract(f"{answer.named} gave no access token")
        self.line.authorization = f"Bearer {self.tokens['access']}"

    # -- asking

    @property
    def ids(self) -> dict[str, str]:
        """Company, brand and store, as parameters."""
        named = {
            "company_id": self.options.company_id,
            "brand_id": self.options.brand_id,
            "store_id": self.options.store_id,
        }
        return {name: value for name, value in named.items() if value}

    def ids_of(self, dataset: str) -> dict[str, str]:
        """What a till sends with a download."""
        return self.ids

    def ask(self, method: str, path: str, **how: Any) -> Answer:
        """A request of who is signed in; once more after a new sign-in, where the token has expired meanwhile."""
        answer = self.line.ask(method, path, **how)
        is_ours = how.get("signed_in", True) and "Authorization" not in (how.get("headers") or {})
        if answer.status != 401 or not is_ours or not self.tokens or self._renewals >= RENEWALS_MAX:
            return answer
        self._renewals += 1
        self.sign_in()
        return self.line.ask(method, path, **how)

    def get(self, route: str, params: Mapping[str, str] | None = None, **how: Any) -> Answer:
        """A sync route by GET; by POST where head office takes nothing else."""
        path, params = f"{SYNC}{route}/", dict(params or {})
        if not self.post_only:
            answer = self.ask("GET", path, params=params, **how)
            allow = answer.headers.get("allow", "")
            if answer.status != 405 or "POST" not in allow.upper():
                return answer
            self.refused, self.post_only = answer, True
        return self.ask("POST", path, body=params, **how)

    def post(self, route: str, body: object = None, **how: Any) -> Answer:
        """A sync route by POST."""
        return self.ask("POST", f"{SYNC}{route}/", body=body, **how)

    # -- what many checks read

    def ask_version(self, **how: Any) -> Answer:
        """The version, asked anew."""
        params = {name: value for name, value in self.ids.items() if name != "brand_id"}
        return self.get("version", params, **how)

    @cached_property
    def version_answer(self) -> Answer:
        """The version as it was at first."""
        return self.ask_version()

    @property
    def version(self) -> dict[str, Any]:
        """Its body. Raises NotTheContract at the first call, Skip at later ones."""
        self._once("version")
        found = self.version_answer.object()
        self._unreadable.discard("version")
        return found

    def _once(self, what: str) -> None:
        """What can't be read is told by the first check that wants it, and not again by all others."""
        if what in self._unreadable:
            raise Skip(f"the answer to {what} can't be used, as told above")
        self._unreadable.add(what)

    @cached_property
    def announced(self) -> frozenset[str]:
        """The capabilities that head office says it has."""
        found = self.version.get("capabilities")
        return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else frozenset()

    @property
    def announced_so_far(self) -> frozenset[str]:
        """The same, without asking: nothing where the version was not had."""
        found: frozenset[str] = vars(self).get("announced", frozenset())
        return found

    @property
    def native(self) -> bool:
        """Whether it announces any ability beyond the baseline."""
        return bool(self.announced)

    @property
    def company_id(self) -> str:
        """The company."""
        return self.options.company_id

    def store(self) -> dict[str, Any]:
        """The store as the version or the promotions tell it; empty where neither does."""
        for source in (self.version, *self.whole("promotions").pages):
            if isinstance(source.get("store"), dict):
                found: dict[str, Any] = source["store"]
                return found
        return {}

    def settings(self) -> dict[str, Any]:
        """The sync settings as the version or the promotions tell them; empty where neither does."""
        for source in (self.version, *self.whole("promotions").pages):
            if isinstance(source.get("settings"), dict):
                found: dict[str, Any] = source["settings"]
                return found
        return {}

    def whole(self, dataset: str) -> Whole:
        """A whole list, pulled at the first call. Raises NotTheContract or NoAnswer then, Skip later."""
        if dataset not in self._wholes:
            self._once(dataset)
            self._wholes[dataset] = self.pull(dataset)
        return self._wholes[dataset]

    def pulled(self, dataset: str) -> Whole | None:
        """The whole list, if it was pulled."""
        return self._wholes.get(dataset)

    def replace(self, whole: Whole) -> None:
        """A better whole list than the first one."""
        self._wholes[whole.dataset] = whole

    def pull(self, dataset: str, **more: str) -> Whole:
        """A whole list, pulled now; further parameters as given.

        Raises:
            NotTheContract: an answer of another form, or a list that doesn't end.
            NoAnswer: none that can be read.
        """
        whole, seen = Whole(dataset), set[str]()
        params = self.ids_of(dataset) | more
        while True:
            answer = self.get(dataset, params)
            body = answer.object()
            rows = body.get(dataset)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise NotTheContract(f"{answer.named} has no list of rows named {dataset}")
            whole.rows += rows
            whole.pages.append({name: value for name, value in body.items() if name != dataset})
            whole.answers.append(answer)
            cursor = body.get("next_cursor")
            if body.get("has_more") is not True or not isinstance(cursor, str):
                return whole
            if cursor in seen or len(whole.pages) >= PAGES_MAX or len(whole.rows) > ROWS_MAX:
                raise NotTheContract(f"{dataset} never end: after {len(whole.pages)} answers there is still more")
            seen.add(cursor)
            params = params | {"cursor": cursor}
