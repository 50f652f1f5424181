"""A head office for pytest: the fixtures `head_office` and `ho_stub`, and the marker that says which one.

    @pytest.mark.head_office(profile="baseline", gaps=["post_only"], faults=["http_503"])
    def test_my_till(head_office): ...

It is loaded with pytest wherever the stub is installed, so it imports nothing until a test asks for a head office.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ho_stub.testing import HeadOffice

MARKER = "head_office(profile='native', data=None, gaps=(), faults=(), seed=None): which head office the fixture gives"


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker, for --strict-markers."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def head_office(request: pytest.FixtureRequest, ho_stub: Callable[..., HeadOffice]) -> HeadOffice:
    """A head office on a port of this machine, new for each test; a backup of its beginning is made."""
    marker = request.node.get_closest_marker("head_office")
    if marker is not None and marker.args:
        raise pytest.UsageError("the marker head_office takes names, such as profile='baseline'")
    office = ho_stub(**(marker.kwargs if marker else {}))
    office.back_up()
    return office


@pytest.fixture
def ho_stub() -> Iterator[Callable[..., HeadOffice]]:
    """Starts head offices, with the arguments of `ho_stub.testing.HeadOffice`; they end with the test."""
    from ho_stub.testing import HeadOffice

    with contextlib.ExitStack() as offices:

        def start(**options: Any) -> HeadOffice:
            return offices.enter_context(HeadOffice(**options))

        yield start
