"""Who asks a route that programs and our own scripts share: by a token as devices do, or by the page's session."""

from secrets import compare_digest

from ho_stub.call import Call, no_company
from ho_stub.errors import ContractError, NotSignedIn
from ho_stub.web.base import from_here, visitor_or_none
from ho_stub.web.sessions import Visitor


def office_asker(call: Call) -> Visitor:
    """The office account that asks. With a session, a change needs the header `X-CSRF-Token`.

    Raises:
        NotSignedIn: 401.
        ContractError: 403 FORBIDDEN for a device's account, one without a company, and a script of another site.
    """
    request = call.request
    if "authorization" in request.headers:
        visitor = Visitor(call.account, "")
    else:
        found = visitor_or_none(request)
        if found is None:
            raise NotSignedIn("Authentication credentials were not provided.")
        visitor = found
        if not visitor.account.has_company:
            raise no_company(visitor.name, native=call.world.native)
        mark = request.headers.get("x-csrf-token", "")
        is_ours = compare_digest(mark.encode(), visitor.csrf.encode()) and from_here(request)
        if request.method not in ("GET", "HEAD") and not is_ours:
            raise ContractError(403, "FORBIDDEN", "X-CSRF-Token must hold the mark of this session's forms.")
    if not visitor.may_edit:
        raise ContractError(403, "FORBIDDEN", "This is for office accounts; a device's account may not.")
    return visitor
