"""The sign-in page, and signing out."""

import secrets

from fastapi import APIRouter, Request, Response

from ho_stub.web.base import (
    SIGN_IN,
    AnyForm,
    SentForm,
    cookie_name,
    from_here,
    page,
    redirect,
    safe_next,
    set_cookie,
    visitor_or_none,
    world_of,
)
from ho_stub.web.sessions import SESSION_S

MARK_S = 3_600.0

router = APIRouter(include_in_schema=False)


@router.get(SIGN_IN)
def sign_in_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - the parameter's usual name
    """The form. Whoever is signed in already goes on."""
    if visitor_or_none(request) is not None:
        return redirect(safe_next(next))
    return _form(request, safe_next(next))


@router.post(SIGN_IN)
def sign_in(request: Request, form: AnyForm) -> Response:
    """Take a name and a password; five wrong ones in five minutes, and the address waits."""
    world = world_of(request)
    to, username = safe_next(form.get("next")), form.get("username", "").strip()
    address = request.client.host if request.client else ""
    mark = request.cookies.get(cookie_name(request, "sign_in"), "")
    # No session yet, so the form's mark must be that of a cookie which only our own page could have set.
    if not mark or not secrets.compare_digest(mark.encode(), form.get("mark", "").encode()) or not from_here(request):
        return _form(request, to, username, "This page was open for too long. Please sign in again.", 403)
    wait_s = world.attempts.wait_s(address, username)
    if wait_s:
        minutes = -(-wait_s // 60)
        words = f"Too many wrong passwords. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}."
        answer = _form(request, to, username, words, 429)
        answer.headers["Retry-After"] = str(wait_s)
        return answer
    if not world.accounts.is_right(username, form.get("password", "")):
        world.attempts.note(address, username)
        return _form(request, to, username, "The name or the password is wrong.", 403)
    world.attempts.forget(address, username)
    _end_session(request)
    answer = redirect(to)
    set_cookie(request, answer, "session", world.sessions.open(username), SESSION_S)
    answer.delete_cookie(cookie_name(request, "sign_in"))
    return answer


@router.post("/accounts/logout/")
def sign_out(request: Request, _: SentForm) -> Response:
    """End the session."""
    _end_session(request)
    answer = redirect(SIGN_IN)
    answer.delete_cookie(cookie_name(request))
    return answer


def _end_session(request: Request) -> None:
    if token := request.cookies.get(cookie_name(request)):
        world_of(request).sessions.end(token)


def _form(request: Request, to: str, username: str = "", problem: str = "", status: int = 200) -> Response:
    mark = secrets.token_urlsafe(24)
    answer = page(request, "sign_in.html", status, next=to, username=username, problem=problem, mark=mark)
    set_cookie(request, answer, "sign_in", mark, MARK_S)
    return answer
