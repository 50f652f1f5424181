"""Signing in, and how far an account reaches (section 2)."""

import uuid
from typing import Any

from ho_stub.check.line import NotTheContract
from ho_stub.check.options import TOKEN_PATH
from ho_stub.check.table import Finding, Group, failed, gap, judged, not_checked, passed
from ho_stub.check.visit import SYNC, SignInRefused, Visit

signing_in = Group("Signing in")
reach = Group("What the account reaches")


@signing_in.check(
    "signin.works",
    "2",
    "User name and password give tokens that are taken",
    "Tills sell and keep everything; nothing goes up or comes down.",
    "Look at user name, password, token path and scheme; one of them is not head office's.",
)
def works(visit: Visit) -> Finding:
    visit.sign_in()
    answer = visit.ask_version()
    if answer.status != 401:
        return passed(f"scheme {visit.options.auth_scheme}")
    wanted = answer.headers.get("www-authenticate", "").split(" ")[0].rstrip(",")
    if wanted and wanted != visit.options.auth_scheme:
        visit.notes["scheme"] = wanted
        raise SignInRefused(f"head office wants the scheme {wanted}: give --auth-scheme {wanted} and its static key")
    raise SignInRefused(f"{answer.named} refuses {visit.options.auth_scheme} with 401")


@signing_in.check(
    "signin.path",
    "2",
    f"Tokens are at {TOKEN_PATH}",
    "A till with the usual settings can't sign in.",
    "Set `token_path` on every till, or serve tokens at the usual path too.",
)
def path(visit: Visit) -> Finding:
    if visit.options.auth_scheme != "Bearer":
        return not_checked("no token is asked for")
    return passed() if visit.token_path == TOKEN_PATH else gap(f"they are at {visit.token_path}")


@signing_in.check(
    "signin.scheme",
    "2",
    "`Authorization: Bearer` is understood",
    "Tills hold a key that never expires: a lost till has to be locked out by hand.",
    "Set `auth_scheme` on every till, and take Bearer tokens that expire.",
)
def scheme(visit: Visit) -> Finding:
    if visit.options.auth_scheme == "Bearer":
        return passed()
    answer = visit.ask_version(headers={"Authorization": f"Bearer {visit.options.password}"})
    wanted = answer.headers.get("www-authenticate", "")
    if answer.status == 401 and wanted and "bearer" not in wanted.lower():
        return gap(f"Bearer is answered 401 with WWW-Authenticate: {wanted}")
    return passed(f"signed in with {visit.options.auth_scheme}")


@signing_in.check(
    "signin.wrong-password",
    "2",
    "A wrong password is 401",
    "Staff are told of a broken line where a password is wrong.",
    "Answer 401 to wrong user names and passwords, and nothing else.",
)
def wrong_password(visit: Visit) -> Finding:
    if visit.options.auth_scheme != "Bearer":
        return not_checked("no password is used")
    body = {"username": f"nobody-{uuid.uuid4()}", "password": "wrong"}  # a name nobody has: no account is locked by it
    answer = visit.line.ask("POST", visit.token_path, body=body, signed_in=False)
    if answer.status < 400:
        return failed(f"a name that nobody has is answered {answer.status}")
    return passed() if answer.status == 401 else gap(f"it is answered {answer.status}")


@signing_in.check(
    "signin.refresh",
    "2",
    "A refresh token gives an access token that is taken",
    "A till asks for its password again each time its token expires: without one at hand it stays signed out.",
    "Answer POST <token path>refresh/ with a new access token.",
)
def refresh(visit: Visit) -> Finding:
    token = visit.tokens.get("refresh")
    if not isinstance(token, str):
        return not_checked("no token is asked for") if not visit.tokens else gap("no refresh token was given")
    answer = visit.line.ask("POST", f"{visit.token_path}refresh/", body={"refresh": token}, signed_in=False)
    if answer.status != 200:
        return gap(f"{answer.named} answered {answer.status}")
    renewed = answer.object()
    visit.tokens |= renewed
    again = visit.ask_version(headers={"Authorization": f"Bearer {renewed['access']}"})
    return passed() if again.status != 401 else gap("the new access token is refused")


@signing_in.check(
    "signin.wrong-refresh",
    "2",
    "A refresh token that is none is 401",
    "A till takes an expired sign-in for a broken line and waits, instead of signing in anew.",
    "Answer 401 to expired and unknown refresh tokens.",
)
def wrong_refresh(visit: Visit) -> Finding:
    if not isinstance(visit.tokens.get("refresh"), str):
        return not_checked("there are no refresh tokens")
    answer = visit.line.ask("POST", f"{visit.token_path}refresh/", body={"refresh": "no-token"}, signed_in=False)
    if answer.status < 400:
        return failed(f"it is answered {answer.status}")
    return passed() if answer.status == 401 else gap(f"it is answered {answer.status}")


@signing_in.check(
    "signin.needed",
    "2",
    "Every route refuses who is not signed in, with 401",
    "Anybody who knows the address can read the catalogue, or the books.",
    "Ask for a sign-in on every route but /health/ and the tokens.",
)
def needed(visit: Visit) -> Finding:
    native = ("stock", "digest", "receipts")
    routes = ("version", "categories", "products", "promotions", *(native if visit.native else ()))
    open_doors, odd = [], []
    for route in (*routes, ""):
        params = visit.ids | ({"dataset": "products"} if route == "digest" else {})
        answer = (
            visit.get(route, params, signed_in=False)
            if route
            else visit.line.ask("GET", visit.options.sales_path, signed_in=False)
        )
        if answer.status < 400:
            open_doors.append(f"{answer.named} answered {answer.status}")
        elif answer.status not in (401, 404, 405):
            odd.append(f"{answer.named} answered {answer.status}")
    return failed("; ".join(open_doors)) if open_doors else judged(odd, of="without a sign-in")


@signing_in.check(
    "signin.body-401",
    "1",
    'A 401 has a JSON body `{"detail": …}`',
    "The reason is missing in a till's status.",
    'Answer 401 with {"detail": "…"}, as the usual frameworks do.',
)
def body_401(visit: Visit) -> Finding:
    answer = visit.ask_version(headers={"Authorization": "Bearer no-token"})
    if answer.status < 400:
        return failed(f"a token that is none is answered {answer.status}")
    try:
        detail = answer.object(401).get("detail")
    except NotTheContract as exc:
        return gap(str(exc))
    return passed() if isinstance(detail, str) and detail else gap("it has no detail")


def _foreign(visit: Visit, noun: str) -> Finding:
    """What a download answers for a company, brand or store that nobody has."""
    params: dict[str, Any] = visit.ids | {f"{noun}_id": str(uuid.uuid4())}
    route = "products" if noun == "brand" else "promotions" if noun == "store" else "categories"
    answer = visit.get(route, params)
    if answer.status == 403:
        return passed()
    if answer.status == 200:
        rows = answer.object().get(route) or []
        return failed(f"{SYNC}{route}/ gave {len(rows)} rows") if rows else gap("it is answered 200 with no rows")
    return gap(f"it is answered {answer.status}")


REACH = "A till can't tell what it may not see from what isn't there; who guesses ids learns which there are."
REACH_REMEDY = "Answer 403 FORBIDDEN for whatever is outside the account's reach, whether or not it exists."


@reach.check("reach.company", "2", "Another company is 403", REACH, REACH_REMEDY)
def other_company(visit: Visit) -> Finding:
    return _foreign(visit, "company")


@reach.check("reach.brand", "2", "Another company's brand is 403", REACH, REACH_REMEDY)
def other_brand(visit: Visit) -> Finding:
    return _foreign(visit, "brand")


@reach.check("reach.store", "2", "Another company's store is 403", REACH, REACH_REMEDY)
def other_store(visit: Visit) -> Finding:
    return _foreign(visit, "store")


@reach.check(
    "reach.version",
    "3",
    "The version of an unknown company is refused",
    "A till with a wrong company id believes for ever that it is up to date, with an empty catalogue.",
    "Answer 403 instead of version 0.",
)
def unknown_company(visit: Visit) -> Finding:
    answer = visit.get("version", {"company_id": str(uuid.uuid4()), "store_id": visit.options.store_id})
    if answer.status >= 500:
        return gap(f"it is answered {answer.status}")
    return passed(str(answer.status)) if answer.status >= 400 else gap(f"it is answered {answer.status}")
