"""JSON that can be spoilt: a tree that holds what no JSON library writes, such as a key twice or half a letter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass
class Text:
    """Bytes that stand in the document as they are."""

    raw: bytes


@dataclass
class Obj:
    """An object's members in their order; a name may stand twice."""

    members: list[tuple[bytes, Any]]


How = Literal["put", "drop", "add", "again", "repeat", "reverse"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a document.

    Args:
        how: ``put`` a value, ``drop`` it, ``add`` a member beside it, say its name ``again``, ``repeat`` an item of a
            list, ``reverse`` a list.
        name: of the member that is meant; None for any value.
        place: which of them, counted round and round.
        text: the JSON text it gets.
    """

    how: How
    name: str | None
    place: int
    text: bytes


def parse(body: bytes) -> Any:
    """A document as a tree of :class:`Obj`, lists and :class:`Text`."""
    return _planted(json.loads(body))


def plant(value: Any) -> Any:
    """A value as such a tree; bytes stand as they are."""
    return _planted(value)


def _planted(value: Any) -> Any:
    if isinstance(value, bytes):
        return Text(value)
    if isinstance(value, dict):
        return Obj([(json.dumps(name).encode(), _planted(one)) for name, one in value.items()])
    if isinstance(value, list):
        return [_planted(one) for one in value]
    return value if isinstance(value, (Obj, Text)) else Text(json.dumps(value, ensure_ascii=False).encode())


def write(tree: Any) -> bytes:
    """The document's bytes."""
    if isinstance(tree, Text):
        return tree.raw
    if isinstance(tree, Obj):
        return b"{" + b",".join(name + b":" + write(value) for name, value in tree.members) + b"}"
    return b"[" + b",".join(write(one) for one in tree) + b"]"


@dataclass
class _Slot:
    """A place in the tree whose value can be changed."""

    holder: Obj | list[Any]
    index: int

    @property
    def name(self) -> bytes | None:
        return self.holder.members[self.index][0] if isinstance(self.holder, Obj) else None

    def put(self, value: Any) -> None:
        if isinstance(self.holder, Obj):
            self.holder.members[self.index] = self.holder.members[self.index][0], value
        else:
            self.holder[self.index] = value

    def drop(self) -> None:
        members = self.holder.members if isinstance(self.holder, Obj) else self.holder
        del members[self.index]


def _slots(tree: Any) -> Iterator[_Slot]:
    holder = tree.members if isinstance(tree, Obj) else tree
    if not isinstance(holder, list):
        return
    for index, one in enumerate(holder):
        yield _Slot(tree, index)
        yield from _slots(one[1] if isinstance(tree, Obj) else one)


def change(tree: Any, changes: Sequence[Change]) -> None:
    """Change a tree in place. A member that is not there is added to the document itself."""
    for one in changes:
        name = None if one.name is None else json.dumps(one.name).encode()
        slots = [slot for slot in _slots(tree) if name is None or slot.name == name]
        if not slots:
            if isinstance(tree, Obj) and name is not None:
                tree.members.append((name, Text(one.text)))
            continue
        _change(slots[one.place % len(slots)], one)


def _change(slot: _Slot, one: Change) -> None:
    holder = slot.holder
    match one.how:
        case "put":
            slot.put(Text(one.text))
        case "drop":
            slot.drop()
        case "add" if isinstance(holder, Obj):
            holder.members.append((b'"a field of their own"', Text(one.text)))
        case "again" if isinstance(holder, Obj):
            holder.members.append((holder.members[slot.index][0], Text(one.text)))
        case "repeat" if isinstance(holder, list):
            copy = parse_again(holder[slot.index])
            if isinstance(copy, Obj) and copy.members:
                copy.members[-1] = copy.members[-1][0], Text(one.text)
            holder.append(copy)
        case "reverse" if isinstance(holder, list):
            holder.reverse()
        case _:
            slot.put(Text(one.text))


def parse_again(tree: Any) -> Any:
    """A copy of a tree."""
    if isinstance(tree, Obj):
        return Obj([(name, parse_again(value)) for name, value in tree.members])
    return [parse_again(one) for one in tree] if isinstance(tree, list) else Text(tree.raw)
