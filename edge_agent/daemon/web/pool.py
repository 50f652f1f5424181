"""Threads for what touches the databases: recording has its own, so that no sale queues behind a search (G9)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
READERS = 4
# One: the journal has one writer at a time. A second thread would meet its lock, and wait for it by sleeping.
RECORDERS = 1


class Pools:
    """Two small fixed pools; the agent keeps a connection for each of their threads. Threads start when needed."""

    def __init__(self) -> None:
        self._recording = ThreadPoolExecutor(RECORDERS, thread_name_prefix="edge-agent-record")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="edge-agent-read")
        self._heavy = asyncio.Semaphore(1)
        self._since_s: dict[object, float] = {}  # of what waits or is done now

    def busy_since_s(self) -> float | None:
        """Since when the oldest work waits or is done, by the monotonic clock; None: there is none. For any thread."""
        return min(tuple(self._since_s.values()), default=None)

    async def _do(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        mark = object()
        self._since_s[mark] = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        finally:
            del self._since_s[mark]

    async def record(self, work: Callable[[], T]) -> T:
        """Do what records. It ends what it began, also when nobody waits for it any more (G1)."""
        return await self._do(self._recording, work)

    async def read(self, work: Callable[[], T]) -> T:
        """Do anything else with the databases."""
        return await self._do(self._reading, work)

    async def read_long(self, work: Callable[[], T]) -> T:
        """Do what takes seconds, such as a look through the whole catalogue; one at a time, the other readers go on."""
        async with self._heavy:
            return await self.read(work)

    def close(self, deadline_s: float) -> bool:
        """Take no more work, and end what was begun.

        Args:
            deadline_s: how long to wait, seconds.

        Returns:
            Whether it ended in time.
        """
        pools = (self._recording, self._reading)
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)

        def wait() -> None:
            for pool in pools:
                pool.shutdown(wait=True)

        waiter = threading.Thread(target=wait, name="edge-agent-api-end", daemon=True)
        waiter.start()
        waiter.join(deadline_s)
        return not waiter.is_alive()
