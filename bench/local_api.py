"""A sale through the loopback API, beside the same sale in the same process's own hands, in turns.

python -m bench.local_api [--quick]
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.device import basket, fill_catalogue, make_home, open_agent
from bench.figure import Figure, median, percentile
from bench.record_sale import IDLE_S, Idle
from edge_agent.domain.sale import Item, Payment

PRODUCTS = 20_000
BURST = 20
HEADERS = {"Content-Type": "application/json"}
# The API in a process of its own, as in a shop; what it serves is a home of its own.
_SERVE = """
import sys, threading
from pathlib import Path
from bench.device import open_agent
from edge_agent.daemon.web.app import make_app
from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.serve import LocalServer
agent = open_agent(Path(sys.argv[1]))
keys = Keys.of_home(agent.home)
server = LocalServer(make_app(agent, keys, port=0, sync_now=lambda: None), port=0)
server.start()
print(server.port, keys.token, flush=True)
sys.stdin.read()
server.stop()
agent.close()
"""


def _body(items: list[Item], payments: list[Payment]) -> bytes:
    sale = {
        "items": [
            {"product": item.product, "quantity": item.quantity, "unit_price": item.unit_price} for item in items
        ],
        "payments": [{"method": payment.method, "amount": payment.amount} for payment in payments],
    }
    return json.dumps(sale, default=str).encode()


def latency(folder: Path, *, quick: bool) -> list[Figure]:
    """The middle and the slowest sale by either way, bursts in turns, with idle moments as at a till."""
    own, served = make_home(folder / "own"), make_home(folder / "served")
    with open_agent(served) as agent:
        fill_catalogue(agent, PRODUCTS)
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(served)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    port, token = process.stdout.readline().split()
    idle, mine, theirs, bare = Idle(folder / "idle"), [], [], []
    headers = {**HEADERS, "Authorization": f"Bearer {token}"}
    line = http.client.HTTPConnection("127.0.0.1", int(port))
    clock = time.perf_counter
    with open_agent(own) as agent:
        fill_catalogue(agent, PRODUCTS)
        for burst in range(-5, 15 if quick else 100):
            baskets = [basket(burst * BURST + number, PRODUCTS) for number in range(BURST)]
            for items, payments in baskets:
                start = clock()
                agent.record_sale(items, payments)
                mine.append(clock() - start)
            idle.wait(IDLE_S)
            for body in [_body(list(items), list(payments)) for items, payments in baskets]:
                start = clock()
                line.request("POST", "/v1/sales", body, headers)
                answer = line.getresponse()
                answer.read()
                theirs.append(clock() - start)
                assert answer.status == 201, answer.status
            for _ in range(BURST):
                start = clock()
                line.request("GET", "/v1/none", headers=headers)
                line.getresponse().read()
                bare.append(clock() - start)
            idle.wait(IDLE_S)
    line.close()
    process.stdin.close()
    process.wait(20)
    process.stdout.close()
    warm = 5 * BURST
    mine, theirs, bare = mine[warm:], theirs[warm:], bare[warm:]
    p50, own_p50, empty = median(theirs), median(mine), median(bare)
    p99, own_p99 = percentile(theirs, 0.99), percentile(mine, 0.99)
    return [
        Figure(
            "a sale through the loopback API p50, against in-process",
            p50 / own_p50,
            note=f"{p50 * 1e3:.3f} against {own_p50 * 1e3:.3f} ms; a request that does nothing takes "
            f"{empty * 1e3:.3f} ms of it",
        ),
        Figure(
            "a sale through the loopback API p99, against in-process",
            p99 / own_p99,
            note=f"{p99 * 1e3:.2f} against {own_p99 * 1e3:.2f} ms; one connection, kept open",
        ),
    ]


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """All figures of the loopback API."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        say("loopback API: a sale, against in-process")
        return latency(Path(name), quick=quick)


if __name__ == "__main__":
    for figure in run(quick="--quick" in sys.argv, say=print):
        print(f"{figure.what}: {figure.value_text} {figure.note}")
