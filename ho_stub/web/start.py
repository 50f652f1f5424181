"""The start page: what there is, and who is signed in."""

from fastapi import APIRouter, Request, Response

from ho_stub.web.assets import static_file
from ho_stub.web.base import PageError, User, page

router = APIRouter(include_in_schema=False)
STATIC_S = 365 * 86_400  # the address holds a hash of the content


@router.get("/")
def start(request: Request, _: User) -> Response:
    """Links to everything."""
    return page(request, "start.html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    """The style sheet and the scripts."""
    found = static_file(name)
    if found is None:
        raise PageError(404, "There is no such file", "Go back to the start page.")
    headers = {"Cache-Control": f"public, max-age={STATIC_S}, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(found[0], 200, headers, found[1])
