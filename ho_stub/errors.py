"""The contract's errors (section 1): a status, a code and a sentence."""

from collections.abc import Mapping
from http import HTTPStatus


class ContractError(Exception):
    """An answer other than 200: `status` (HTTP), `code` (one of the contract's) and a sentence for people.

    `headers` go out beside those of every error.
    """

    def __init__(self, status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.headers = headers
        self.status = status
        self.code = code
        self.sentence = sentence

    def body(self, *, native: bool) -> dict[str, object]:
        """The error as JSON; native answers carry the members of problem+json (RFC 9457) beside it."""
        body: dict[str, object] = {"error": self.sentence, "code": self.code}
        if native:
            title = HTTPStatus(self.status).phrase
            body |= {"type": "about:blank", "title": title, "status": self.status, "detail": self.sentence}
        return body


class NotSignedIn(Exception):
    """401: no token, an unknown or expired one, or a wrong password."""


class Rejected(Exception):
    """One sale or usage is refused with one of the contract's codes; its neighbours aren't."""

    def __init__(self, code: str, error: str) -> None:
        super().__init__(error)
        self.code = code


def bad_request(sentence: str, code: str = "INVALID_REQUEST") -> ContractError:
    """A malformed request: 400, never 500 or 422."""
    return ContractError(400, code, sentence)


def cursor_expired(why: str) -> ContractError:
    """410: the client takes a snapshot."""
    return ContractError(410, "CURSOR_EXPIRED", f"This cursor can't be continued: {why}. Take a snapshot.")
