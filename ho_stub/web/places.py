"""The company's brands and stores, as pages let people choose among them."""

from dataclasses import dataclass

from ho_stub.policy import Level
from ho_stub.world import World


@dataclass(frozen=True, slots=True)
class Place:
    """A brand or a store."""

    level: Level
    id: str
    name: str
    brand_id: str | None = None

    @property
    def path(self) -> str:
        """The page of its own settings."""
        return f"/promotions/settings/overrides/{self.level}/{self.id}/"


def brands(world: World) -> list[Place]:
    """All brands, by name."""
    return [Place("brand", *row) for row in world.db.rows("SELECT id, name FROM brand ORDER BY name, id")]


def stores(world: World) -> list[Place]:
    """All stores, by code."""
    found = world.db.rows("SELECT id, code, name, brand_id FROM store ORDER BY code, id")
    return [Place("store", own_id, f"{code} {name}", brand_id) for own_id, code, name, brand_id in found]


def place(world: World, level: str, own_id: str) -> Place | None:
    """One of them, or None."""
    places = brands(world) if level == "brand" else stores(world) if level == "store" else []
    return next((one for one in places if one.id == own_id), None)
