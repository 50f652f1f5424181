"""Server-sent events: a hint to pull now, sent when the version moves (contract section 6)."""

import asyncio

import msgspec
from fastapi import APIRouter, Response
from starlette.types import Receive, Scope, Send

from ho_stub.call import Caller, signed_in
from ho_stub.examples import EVENTS
from ho_stub.world import World

COMMENT_EVERY_S = 15.0
BURST_S = 0.2  # what changes within so short a time after an event is told by one more

router = APIRouter(prefix="/api/v1/sync", tags=["downloads"], dependencies=[signed_in])


@router.get(
    "/events/",
    summary="A stream of hints: the version moved, pull now",
    responses={200: {"description": "OK", "content": {"text/event-stream": {"example": EVENTS}}}},
    response_class=Response,
)
def events(call: Caller, store_id: str | None = None) -> Response:
    """`event: changed` with the new version, a comment every 15 s. What was before the stream began is not told.

    When sync settings are among what changed, `event: settings` with their `updated_at` comes right after it.
    """
    call.store(store_id)
    return EventStream(call.world)


class EventStream(Response):
    """The answer that goes on until the client goes away or the server ends."""

    media_type = "text/event-stream"

    def __init__(self, world: World) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # nobody keeps it back
        del self.headers["content-length"]
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until one of the two ends."""
        tasks = [asyncio.ensure_future(self._tell(send)), asyncio.ensure_future(_goes_away(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        bell, day = self._world.bell, self._world.today()
        policy = self._world.policy
        with bell.listening() as rung:  # from before the first byte: whoever has read it misses nothing
            noticed_at = await asyncio.to_thread(policy.noticed_at)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _say(send, ": this stream tells when to pull\n\n")
            while not bell.closed:
                try:
                    async with asyncio.timeout(COMMENT_EVERY_S):
                        await rung.wait()
                except TimeoutError:
                    await _say(send, ": still here\n\n")
                    if day != (day := self._world.today()):  # promotions enter and leave though nobody edits
                        await asyncio.to_thread(self._world.settle_day)
                    continue
                rung.clear()
                if not bell.closed:
                    data = msgspec.json.encode({"version": bell.version}).decode()
                    text = f"event: changed\ndata: {data}\n\n"
                    if noticed_at != (noticed_at := await asyncio.to_thread(policy.noticed_at, bell.version)):
                        notice = msgspec.json.encode({"updated_at": noticed_at}).decode()
                        text += f"event: settings\ndata: {notice}\n\n"
                    await _say(send, text)
                    await asyncio.sleep(BURST_S)
            await send({"type": "http.response.body", "body": b""})


async def _say(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _goes_away(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
