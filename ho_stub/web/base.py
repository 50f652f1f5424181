"""What every page needs: who is signed in, forms that are really theirs, the layout, answers, errors as pages.

A page's route reads like this:

    @router.get("/things/")
    def things(request: Request, visitor: Office) -> Response:
        return page(request, "things.html", things=world_of(request).things())

    @router.post("/things/")
    def save(request: Request, visitor: Office, form: SentForm) -> Response:
        ...                                     # form["name"] is text; inside world.db.write(): change and audit.note
        return redirect("/things/")

Templates extend `base.html`; every form in them begins with `{{ csrf }}`, which is the hidden field.
"""

from functools import cache
from secrets import compare_digest
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

import jinja2
from fastapi import Depends, FastAPI, Request, Response
from markupsafe import Markup
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse

from ho_stub.web.assets import HERE, static_url
from ho_stub.web.sessions import Visitor
from ho_stub.world import World

FORM_BYTES_MAX = 256 * 1024
FORM_FIELDS_MAX = 1_000
SIGN_IN = "/accounts/login/"
LABELS = {
    "sync_strategy": "which promotions",
    "future_days": "days ahead",
    "past_days": "days back",
    "include_inactive": "inactive promotions",
    "auto_sync_enabled": "devices sync by themselves",
    "sync_interval_hours": "hours between syncs",
    "max_promotions_per_sync": "promotions an answer",
    "enable_compression": "compress answers",
    "sync_windows": "times",
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageError(Exception):
    """A page that says what is wrong: `status` (HTTP), a title, and a sentence with the mend."""

    def __init__(self, status: int, title: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.title = title
        self.sentence = sentence


class SignInNeeded(Exception):
    """Nobody is signed in: the answer leads to the sign-in page and back again."""


class Form(dict[str, str]):
    """The fields of a form as sent, the last of each name; `every(name)` gives all."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def every(self, name: str) -> list[str]:
        """All values of a name, in the order of the form."""
        return [value for one, value in self._pairs if one == name]


def world_of(request: Request) -> World:
    """The world that the page shows."""
    world: World = request.app.state.world
    return world


# -- who is signed in


def cookie_name(request: Request, what: str = "session") -> str:
    """Cookies know no ports: two head offices on one machine must not sign each other's people out."""
    return f"ho_{what}_{request.url.port or 0}"


def set_cookie(request: Request, answer: Response, what: str, value: str, lifetime_s: float) -> None:
    """A cookie that no script reads and no other site sends."""
    answer.set_cookie(
        cookie_name(request, what),
        value,
        max_age=int(lifetime_s),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def visitor_or_none(request: Request) -> Visitor | None:
    """Who is signed in, if anybody."""
    if not hasattr(request.state, "visitor"):
        world_of(request).catch_up()
        token = request.cookies.get(cookie_name(request))
        request.state.visitor = world_of(request).sessions.visitor(token) if token else None
    visitor: Visitor | None = request.state.visitor
    return visitor


def signed_in_user(request: Request) -> Visitor:
    """Whoever is signed in, and has a company. Raises SignInNeeded, or PageError for an account without one."""
    visitor = visitor_or_none(request)
    if visitor is None:
        raise SignInNeeded
    if not visitor.account.has_company:
        raise PageError(
            403,
            "Your account belongs to no company yet",
            f"You are signed in as {visitor.name}. All is well with your account, but nobody has given it a company. "
            "Ask whoever looks after head office's accounts to do so, then come back to this page.",
        )
    return visitor


def office_user(request: Request) -> Visitor:
    """A person of the office, who may edit. Raises PageError for a device's account."""
    visitor = signed_in_user(request)
    if not visitor.may_edit:
        raise PageError(
            403,
            "This page is for the office",
            f"You are signed in as {visitor.name}, the account of a device: it may sell and fetch, and edit nothing "
            "here. Sign out, and sign in with an office account.",
        )
    return visitor


async def _sent(request: Request) -> Form:
    """The body of a form. Raises PageError if it is too large or none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise PageError(413, "That was too much", "The form holds more than this page takes. Shorten it.")
    try:
        text = body.decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX)
    except ValueError as exc:
        raise PageError(400, "This form can't be read", "Go back, load the page again, and send it once more.") from exc
    return Form([(name, value.replace("\r\n", "\n").replace("\0", "")) for name, value in pairs])


AnyForm = Annotated[Form, Depends(_sent)]


def form(request: Request, sent: AnyForm) -> Form:
    """A form that this very session's page has sent. Raises SignInNeeded or PageError."""
    visitor = visitor_or_none(request)
    if visitor is None:
        raise SignInNeeded
    is_ours = compare_digest(sent.get("csrf", "").encode(), visitor.csrf.encode())
    if not is_ours or not from_here(request):
        raise PageError(
            403, "This form is out of date", "Nothing was saved. Go back, load the page again, and send it once more."
        )
    return sent


def from_here(request: Request) -> bool:
    """Whether a browser says that one of our own pages sent this; a browser that says nothing is believed."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    return site in ("same-origin", "none")


User = Annotated[Visitor, Depends(signed_in_user)]
Office = Annotated[Visitor, Depends(office_user)]
SentForm = Annotated[Form, Depends(form)]


# -- answers


def page(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page from a template. The template knows besides: visitor, csrf (the hidden field), links, company, path."""
    visitor = visitor_or_none(request)
    hidden = Markup('<input type="hidden" name="csrf" value="{}">').format(visitor.csrf if visitor else "")
    known = {
        "visitor": visitor,
        "csrf": hidden,
        "links": request.app.state.links,
        "company": world_of(request).company,
        "path": request.url.path,
    }
    return HTMLResponse(_templates().get_template(template).render(known | context), status, HEADERS)


def fragment(template: str, **context: Any) -> str:
    """A piece of a page, for a script to put into one."""
    return _templates().get_template(template).render(context)


def redirect(to: str) -> RedirectResponse:
    """Go on to one of our own pages, after a form was taken."""
    return RedirectResponse(to, 303, HEADERS)


def safe_next(wanted: str | None) -> str:
    """Where to go after signing in: a path of ours, never another site."""
    good = (
        wanted is not None
        and wanted.startswith("/")
        and not wanted.startswith(("//", "/\\"))
        and wanted.isprintable()
        and "\\" not in wanted
        and not wanted.startswith(SIGN_IN)
    )
    return wanted if wanted and good else "/"


def wants_json(request: Request) -> bool:
    """Whether a program asks, not a browser that shows pages."""
    return "application/json" in request.headers.get("accept", "")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_url
    environment.globals["labels"] = LABELS
    environment.filters["shown"] = shown
    return environment


def shown(value: object) -> str:
    """A value of the settings or the audit log, for people."""
    if value is None:
        return "inherited"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"{one['from']} to {one['to']}" for one in value) or "any time"
    return str(value)


# -- errors


def install_errors(app: FastAPI) -> None:
    """Errors of pages as pages; as JSON where a program asks."""

    def page_error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, PageError)
        if wants_json(request):
            return JSONResponse({"detail": exc.sentence}, exc.status, HEADERS)
        return page(request, "message.html", exc.status, title=exc.title, sentence=exc.sentence)

    def sign_in_needed(request: Request, _: Exception) -> Response:
        if wants_json(request):
            return JSONResponse({"detail": "Sign in first."}, 401, HEADERS)
        back = request.url.path
        if request.method == "GET" and request.url.query:
            back += f"?{request.url.query}"
        return redirect(f"{SIGN_IN}?next={quote(back)}")

    app.add_exception_handler(PageError, page_error)
    app.add_exception_handler(SignInNeeded, sign_in_needed)
