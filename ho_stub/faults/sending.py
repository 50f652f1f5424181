"""What may happen on the line: before head office is asked, and while its answer goes out.

Each gives False when the exchange ends there: the client has been cut off, or has gone away.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache

from ho_stub.faults.exchange import Answer, Exchange
from ho_stub.faults.table import Value

Before = Callable[[Exchange, Value | None], Awaitable[bool]]
Sending = Callable[[Exchange, Answer, Value | None], Awaitable[None]]
MIB = 1024 * 1024


# -- before head office is asked


async def _reset(exchange: Exchange, _: Value | None) -> bool:
    exchange.cut(True)
    return False


async def _close(exchange: Exchange, _: Value | None) -> bool:
    exchange.cut(False)
    return False


async def _hang(exchange: Exchange, _: Value | None) -> bool:
    await exchange.gone()
    return False


async def _slow(exchange: Exchange, value: Value | None) -> bool:
    return await exchange.pause(float(value or 0))


async def _sent_twice(exchange: Exchange, _: Value | None) -> bool:
    await exchange.ask(exchange.request)
    return True


async def _old_upload_again(exchange: Exchange, _: Value | None) -> bool:
    old = exchange.memory.get("upload")
    exchange.memory["upload"] = exchange.request
    if old is not None:
        await exchange.ask(old)
    return True


async def _expired_token(exchange: Exchange, _: Value | None) -> bool:
    await asyncio.to_thread(_expire, exchange, "token = ?")
    return True


async def _expired_refresh(exchange: Exchange, _: Value | None) -> bool:
    await asyncio.to_thread(_expire, exchange, "username IN (SELECT username FROM token WHERE token = ?)")
    return True


def _expire(exchange: Exchange, which: str) -> None:
    """End the token that the request brings, or all of its account."""
    headers = dict(exchange.request.scope["headers"])
    token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")[2]
    with exchange.world.db.write():
        exchange.world.db.run(f"UPDATE token SET expires_at = 0 WHERE {which}", (token,))  # noqa: S608 - constants


BEFORE: Mapping[str, Before] = {
    "reset": _reset,
    "close": _close,
    "hang": _hang,
    "slow": _slow,
    "sent_twice": _sent_twice,
    "old_upload_again": _old_upload_again,
    "expired_token": _expired_token,
    "expired_refresh": _expired_refresh,
}


# -- while the answer goes out


async def _lost(exchange: Exchange, _: Answer, __: Value | None) -> None:
    exchange.cut(True)


async def _closed(exchange: Exchange, _: Answer, __: Value | None) -> None:
    exchange.cut(False)


async def _hang_after(exchange: Exchange, _: Answer, __: Value | None) -> None:
    await exchange.gone()


async def _reset_mid_answer(exchange: Exchange, answer: Answer, _: Value | None) -> None:
    exchange.say(answer.head() + answer.body[: len(answer.body) // 2])
    await exchange.pause(0.05)  # a reset overtakes what is still on its way
    exchange.cut(True)


async def _cut_headers(exchange: Exchange, answer: Answer, _: Value | None) -> None:
    head = answer.head()
    exchange.say(head[: len(head) // 2])
    exchange.cut(False)


async def _truncated(exchange: Exchange, answer: Answer, _: Value | None) -> None:
    exchange.say(answer.head(max(2, len(answer.body))) + answer.body[: len(answer.body) // 2])
    exchange.cut(False)


async def _truncated_to_fit(exchange: Exchange, answer: Answer, value: Value | None) -> None:
    part = answer.body[: len(answer.body) * int(value or 0) // 100]
    exchange.say(answer.head(len(part)) + part)
    exchange.cut(False)


async def _drip(exchange: Exchange, answer: Answer, value: Value | None) -> None:
    exchange.say(answer.head())
    for place in range(len(answer.body)):
        exchange.say(answer.body[place : place + 1])
        if not await exchange.pause(1 / max(1, int(value or 1))):
            return
    exchange.cut(False)


async def _no_http(exchange: Exchange, _: Answer, __: Value | None) -> None:
    exchange.say(b"220 mail.example.com ESMTP\r\n")
    exchange.cut(False)


async def _huge_body(exchange: Exchange, answer: Answer, value: Value | None) -> None:
    size = int(value or 0) * MIB
    start = answer.with_header(b"content-encoding", None).with_header(b"content-length", str(size).encode())
    await exchange.send({"type": "http.response.start", "status": 200, "headers": list(start.headers)})
    block = b'{"pad":"' + b" " * (MIB - 8)
    for _ in range(int(value or 0)):
        await exchange.send({"type": "http.response.body", "body": block, "more_body": True})
        block = b" " * MIB
    await exchange.send({"type": "http.response.body", "body": b""})


async def _gzip_bomb(exchange: Exchange, answer: Answer, value: Value | None) -> None:
    bomb = await asyncio.to_thread(_bomb, int(value or 0))
    packed = answer.with_body(bomb).with_header(b"content-encoding", b"gzip")
    exchange.say(packed.head() + bomb)
    exchange.cut(False)


@lru_cache(2)
def _bomb(mib: int) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join([packer.compress(b" " * MIB) for _ in range(mib)] + [packer.flush()])


SENDING: Mapping[str, Sending] = {
    "lost_answer": _lost,
    "closed_answer": _closed,
    "hang_after": _hang_after,
    "reset_mid_answer": _reset_mid_answer,
    "cut_headers": _cut_headers,
    "truncated": _truncated,
    "truncated_to_fit": _truncated_to_fit,
    "drip": _drip,
    "no_http": _no_http,
    "huge_body": _huge_body,
    "gzip_bomb": _gzip_bomb,
}
