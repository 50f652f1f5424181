"""Where head office is, who asks, and how far the check may go."""

from collections.abc import Collection
from dataclasses import dataclass

TOKEN_PATH = "/api/token/"  # noqa: S105 - a path
TOKEN_PATH_ELSEWHERE = "/api/v1/token/"  # noqa: S105 - a path
SALES_PATH = "/api/sales/"


@dataclass(frozen=True, slots=True)
class Options:
    """`timeout_s`: for one whole answer. `deadline_s`: for the whole check. `ca`: a file of certificates to trust.

    `token_path` None: the usual one, and the other usual one where that is not found. `only`: check ids, or how they
    begin. `slow`: also what takes a quarter of a minute.
    """

    url: str
    username: str = ""
    password: str = ""
    company_id: str = ""
    brand_id: str = ""
    store_id: str = ""
    token_path: str | None = None
    auth_scheme: str = "Bearer"
    sales_path: str = SALES_PATH
    write: bool = False
    slow: bool = False
    only: Collection[str] = ()
    timeout_s: float = 20.0
    deadline_s: float = 300.0
    ca: str | None = None
