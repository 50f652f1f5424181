"""A till that belongs to the test's head office."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import Clock
from edge_agent.settings import make_settings
from edge_agent.setup import set_up

sys.path.insert(0, str(Path(__file__).parent))

from pos import Pos

if TYPE_CHECKING:
    from ho_stub.testing import HeadOffice


@pytest.fixture
def pos(head_office: HeadOffice, tmp_path: Path) -> Iterator[Pos]:
    """Set up and in sync, as in the morning."""
    settings = make_settings(
        {
            "url": head_office.url,
            "username": head_office.username,
            "company_id": head_office.company_id,
            "brand_id": head_office.brand_id,
            "store_id": head_office.store_id,
            "device_id": "pos-02",
        }
    )
    set_up(tmp_path, settings, head_office.password, Clock())
    pos = Pos(tmp_path)
    pos.agent.sync()
    yield pos
    pos.agent.close()
