"""Sync settings as head office keeps them: the company's, and what brands and stores have of their own.

A store's value of a field is its own if it has one, else its brand's, else the company's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ho_stub.audit import Audit, AuditQuery
from ho_stub.database import Database
from ho_stub.rows import utc_now
from ho_stub.settings import DEFAULTS, STRATEGY_FIELDS, Settings, check, window_key

Level = Literal["brand", "store"]
LEVELS: tuple[Level, ...] = ("brand", "store")
ACTION = "edit sync settings"
COMPANY = "company"


class Office(Protocol):
    """What the policy needs of the world, and whom it tells."""

    db: Database
    audit: Audit

    def store(self, store_id: str) -> dict[str, Any] | None:
        """A store of the company, or None."""

    def policy_changed(self) -> None:
        """Settings or overrides changed, inside the same `db.write()`."""


class Outdated(ValueError):
    """Somebody else saved in the meantime; nothing was saved. `by` and `at`: who and when."""

    def __init__(self, by: str, at: str) -> None:
        super().__init__(f"{by} saved other settings at {at}.")
        self.by = by
        self.at = at


@dataclass(frozen=True, slots=True)
class Override:
    """What a brand or a store has of its own; fields left out are inherited."""

    level: Level
    id: str
    values: Mapping[str, object]
    updated_at: str | None = None
    updated_by: str | None = None

    def json(self) -> dict[str, object]:
        """As the API shows it: every field, null where it is inherited."""
        own = {name: self.values.get(name) for name in STRATEGY_FIELDS}
        return {"level": self.level, "id": self.id, **own, "updated_at": self.updated_at, "updated_by": self.updated_by}


class Policy:
    """Reads and saves; every change is in the audit log."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._db = office.db
        self._noticed: tuple[int | None, str] = (None, "")

    def fill(self) -> None:
        """The defaults of a new company, inside the caller's `db.write()`."""
        self._keep(DEFAULTS | {"updated_at": utc_now(), "updated_by": None})

    # -- the company's

    def company(self) -> Settings:
        """The company's settings, with `updated_at` and `updated_by`."""
        found: Settings = DEFAULTS | json.loads(self._db.meta("settings") or "{}")
        return found

    def save(self, fields: Mapping[str, object], by: str, seen: str | None = None) -> list[str]:
        """Change settings; fields left out stay.

        Args:
            fields: name → new value.
            by: who changes them.
            seen: the `updated_at` of the settings that they were looking at; None: whatever there is.

        Returns:
            The names of what is another now; when there is none, nothing is written.

        Raises:
            InvalidSettings: with a message for each wrong field; nothing is saved.
            Outdated: somebody else saved after `seen`.
        """
        check(fields)
        with self._db.write():
            old = self.company()
            if seen is not None and seen != old["updated_at"]:
                raise Outdated(str(old["updated_by"]), str(old["updated_at"]))
            changed = [name for name, value in fields.items() if old[name] != value]
            if changed:
                self._keep(old | dict(fields) | {"updated_at": utc_now(), "updated_by": by})
                self._note(by, COMPANY, old, fields, changed)
            return changed

    def _keep(self, settings: Mapping[str, object]) -> None:
        self._db.set_meta("settings", json.dumps(settings))

    # -- overrides

    def overrides(self) -> list[Override]:
        """All there are."""
        found = self._db.rows("SELECT level, id, body, updated_at, updated_by FROM sync_override ORDER BY level, id")
        return [_override(row) for row in found]

    def override(self, level: Level, own_id: str) -> Override:
        """What a brand or store has of its own, perhaps nothing."""
        sql = "SELECT level, id, body, updated_at, updated_by FROM sync_override WHERE level = ? AND id = ?"
        found = self._db.row(sql, (level, own_id))
        return _override(found) if found else Override(level, own_id, {})

    def save_override(self, level: Level, own_id: str, values: Mapping[str, object], by: str) -> list[str]:
        """Give a brand or store values of its own; fields left out or None are inherited from now on.

        Returns:
            The names of what is another now.

        Raises:
            InvalidSettings: with a message for each wrong field; nothing is saved.
            KeyError: there is no such brand or store.
        """
        own = {name: value for name, value in values.items() if value is not None}
        check(dict.fromkeys(set(values) - set(STRATEGY_FIELDS)) | own, STRATEGY_FIELDS)
        with self._db.write():
            if self._db.row(f"SELECT 1 FROM {level} WHERE id = ?", (own_id,)) is None:  # noqa: S608 - a Level
                raise KeyError(own_id)
            old = self.override(level, own_id).values
            changed = [name for name in STRATEGY_FIELDS if old.get(name) != own.get(name)]
            if not changed:
                return []
            if own:
                self._db.run(
                    "INSERT INTO sync_override (level, id, body, updated_at, updated_by) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (level, id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at, "
                    "updated_by = excluded.updated_by",
                    (level, own_id, json.dumps(own), utc_now(), by),
                )
            else:
                self._db.run("DELETE FROM sync_override WHERE level = ? AND id = ?", (level, own_id))
            self._note(by, f"{level} {own_id}", old, own, changed)
            return changed

    # -- what counts

    def effective(
        self,
        store: Mapping[str, Any] | None,
        company: Mapping[str, object] | None = None,
        instead: Override | None = None,
    ) -> Settings:
        """The settings that count for a store (None: for none in particular, so the company's).

        Args:
            store: with its `id` and `brand_id`.
            company: unsaved values to take in place of the company's.
            instead: an unsaved override to take in place of the saved one of its brand or store.
        """
        found = self.company() | dict(company or {})
        for own in self.layers(store, instead):
            found |= own.values
            if own.updated_at is not None and own.updated_at > str(found["updated_at"]):
                found |= {"updated_at": own.updated_at, "updated_by": own.updated_by}
        return found

    def layers(self, store: Mapping[str, Any] | None, instead: Override | None = None) -> list[Override]:
        """The overrides that count for a store, its brand's first; one of them may be taken from `instead`."""
        found = []
        if store is not None and store["brand_id"] is not None:
            found.append(self.override("brand", store["brand_id"]))
        if store is not None:
            found.append(self.override("store", store["id"]))
        is_meant = (instead.level, instead.id) if instead is not None else None
        return [instead if instead is not None and (one.level, one.id) == is_meant else one for one in found]

    def window_keys(self) -> set[str]:
        """The strategies there are: of the company, of each brand, and of each store."""
        company = self.company()
        own = {(one.level, one.id): one.values for one in self.overrides()}
        brands = [(None, brand_id) for (brand_id,) in self._db.rows("SELECT id FROM brand")]
        found = {window_key(company)}
        for store_id, brand_id in (*brands, *self._db.rows("SELECT id, brand_id FROM store")):
            values = company | dict(own.get(("brand", brand_id), {})) | dict(own.get(("store", store_id), {}))
            found.add(window_key(values))
        return found

    def noticed_at(self, version: int | None = None) -> str:
        """When any of all this last changed. With a version, the database is asked once for each: every change of
        settings makes another one."""
        if version is None or self._noticed[0] != version:
            self._noticed = (version, self._db.meta("policy_changed_at") or str(self.company()["updated_at"]))
        return self._noticed[1]

    def history(self, limit: int, offset: int = 0) -> tuple[int, list[dict[str, Any]]]:
        """How many changes there were, and some of them, newest first: entries of the audit log."""
        return self._office.audit.page(AuditQuery(action=ACTION), limit, offset)

    def _note(
        self, by: str, subject: str, old: Mapping[str, object], new: Mapping[str, object], changed: list[str]
    ) -> None:
        before, after = ({name: values.get(name) for name in changed} for values in (old, new))
        self._office.audit.note(by, ACTION, subject, before, after)
        self._db.set_meta("policy_changed_at", utc_now())
        self._office.policy_changed()


def _override(row: tuple[Any, ...]) -> Override:
    level, own_id, body, at, by = row
    return Override(level, own_id, json.loads(body), at, by)
