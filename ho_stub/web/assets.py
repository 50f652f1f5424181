"""The style sheet and the scripts: files of this package, at addresses that change with their content."""

from functools import cache
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
STATIC = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """A style sheet or script and its type; None if there is none of this name."""
    path = HERE / "static" / name
    if path.parent != HERE / "static" or path.suffix not in STATIC or not path.is_file():
        return None
    return path.read_bytes(), STATIC[path.suffix]


def static_url(name: str) -> str:
    """Its address, another one when its content is another."""
    found = static_file(name)
    assert found is not None, name
    return f"/static/{name}?{sha256(found[0]).hexdigest()[:12]}"
