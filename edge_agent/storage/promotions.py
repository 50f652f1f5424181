"""Promotions as an explanation asks for them: by code or id, refused ones too."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.database import in_own_words


class RefusedPromotion(NamedTuple):
    """A promotion that head office sent and that can't be used. Times are milliseconds since 1970."""

    id: str
    code: str | None
    name: str | None
    reason: str
    first_ms: int
    last_ms: int


@in_own_words
class Promotions:
    """Promotions of a catalogue by code or id.

    Args:
        store: the catalogue.
    """

    def __init__(self, store: CatalogStore) -> None:
        self.database = store.database

    def named(self, key: str) -> list[bytes]:
        """The JSON of the promotions in use with this code or id; capitals don't matter where none fits exactly."""
        query = "SELECT body FROM promotions WHERE code = ?1 OR id = ?1 ORDER BY name, id"
        connection = self.database.connection
        exact = [body for (body,) in connection.execute(query, (key,))]
        if exact:
            return exact
        wanted = key.strip().casefold()
        rows = connection.execute("SELECT id, code FROM promotions WHERE code IS NOT NULL ORDER BY name, id")
        alike = [row_id for row_id, code in rows if code.strip().casefold() == wanted]
        return [body for row_id in alike for (body,) in connection.execute(query, (row_id,))]

    def refused(self, key: str) -> list[RefusedPromotion]:
        """The refused promotions with this code or id, as far as their JSON can be read."""
        wanted = key.strip().casefold()
        found = []
        query = "SELECT id, body, reason, first_ms, last_ms FROM refused WHERE dataset = 'promotions' ORDER BY id"
        for row_id, body, reason, first_ms, last_ms in self.database.connection.execute(query):
            code, name = _text(body, "code"), _text(body, "name")
            if wanted == row_id.casefold() or (code is not None and wanted == code.strip().casefold()):
                found.append(RefusedPromotion(row_id, code, name, reason, first_ms, last_ms))
        return found


def _text(body: bytes, key: str) -> str | None:
    try:
        row = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, str) else None
