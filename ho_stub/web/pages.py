"""All pages, put into the application."""

from dataclasses import dataclass

from fastapi import FastAPI

from ho_stub.web import admin, books, fleet, preview_page, settings_api, settings_page, sign_in, start
from ho_stub.web.base import install_errors

ROUTERS = (
    sign_in.router,
    start.router,
    settings_page.router,
    settings_api.router,
    preview_page.router,
    fleet.router,
    books.router,
    admin.router,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A page in the menu and on the start page. `office`: for office accounts alone."""

    path: str
    title: str
    says: str
    office: bool = True


LINKS: tuple[Link, ...] = (
    Link("/products/", "Products", "Find one, change its price, add or delete one, and watch a till follow."),
    Link("/promotions/", "Promotions", "Define one by its goods, days and rules, switch one off, delete one."),
    Link("/promotions/settings/", "Sync settings", "Which promotions stores are sent, and when they come for them."),
    Link("/fleet/", "Fleet", "How each device is, whose sales are stuck, who lacks what."),
    Link("/books/", "Books", "What each store sold, low stock, request limits, who changed what."),
    Link("/docs", "API", "Every route with examples, to try it out.", office=False),
)


def install(app: FastAPI) -> None:
    """Put the pages into an application whose `state.world` is set."""
    app.state.links = LINKS
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    install_errors(app)
