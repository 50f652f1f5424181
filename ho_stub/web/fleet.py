"""The fleet's pages: how each device is, who lacks what, and orders to compare and repair."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from ho_stub.fleet import ALL, SILENT_S, Device, Fleet, span
from ho_stub.rows import DATASETS
from ho_stub.web.base import HEADERS, Office, PageError, SentForm, page, redirect, wants_json, world_of

router = APIRouter(include_in_schema=False)


@router.get("/fleet/")
def fleet(request: Request, _: Office) -> Response:
    """Every device, those that need somebody first."""
    now = datetime.now(UTC)
    devices = Fleet(world_of(request)).devices(now)
    if wants_json(request):
        return JSONResponse({"devices": [_plain(one) for one in devices]}, headers=HEADERS)
    stuck = sorted({_place(one) for one in devices if one.is_stuck})
    return page(request, "fleet.html", devices=devices, stuck=stuck, age=_ages(now), silent_min=SILENT_S // 60)


@router.get("/fleet/desync/")
def desync(request: Request, _: Office) -> Response:
    """Who lacks what, and the orders that were given."""
    world, now = world_of(request), datetime.now(UTC)
    lacks, orders = Fleet(world).desync(now), world.orders.last()
    if wants_json(request):
        return JSONResponse({"lacks": [dataclasses.asdict(one) for one in lacks], "orders": orders}, headers=HEADERS)
    devices = sorted({one.device_id for one in Fleet(world).devices(now) if one.seen_at})
    return page(request, "desync.html", lacks=lacks, orders=orders, devices=devices, datasets=DATASETS, age=_ages(now))


@router.post("/fleet/orders/")
def give(request: Request, visitor: Office, form: SentForm) -> Response:
    """Ask a device to compare, or to repair; a dry run comes first."""
    world, device_id, dataset = world_of(request), form.get("device_id", ""), form.get("dataset", ALL)
    if world.heartbeat(device_id) is None:
        raise PageError(404, "No such device", "No device of this name has sent a heartbeat. Go back and choose one.")
    if dataset not in (ALL, *DATASETS):
        raise PageError(400, "No such dataset", f"Choose {ALL} or one of {', '.join(DATASETS)}.")
    repair = form.get("repair") == "1"
    wanted = None if dataset == ALL else dataset
    if repair and not _was_compared(world.orders.last(device_id), wanted):
        raise PageError(
            409,
            "Compare first",
            f"{device_id} has not told what differs. Order it to compare; when its answer is here, order the repair.",
        )
    world.orders.give(device_id, dataset=wanted, repair=repair, actor=visitor.name)
    return redirect("/fleet/desync/")


@router.post("/fleet/orders/{order_id}/cancel/")
def cancel(request: Request, order_id: str, visitor: Office, _: SentForm) -> Response:
    """Take an order back."""
    if not world_of(request).orders.cancel(order_id, visitor.name):
        raise PageError(409, "It is done already", "Its device has reported this order, or somebody took it back.")
    return redirect("/fleet/desync/")


def _was_compared(orders: list[dict[str, Any]], dataset: str | None) -> bool:
    """Whether the device has told what differs there: a repair that nobody looked at first is not ordered here."""
    return any(one["done_at"] and not one["repair"] and one["dataset"] in (None, dataset) for one in orders)


def _place(device: Device) -> str:
    return device.store["name"] if device.store else device.device_id


def _plain(device: Device) -> dict[str, Any]:
    return dataclasses.asdict(device) | {"is_stuck": device.is_stuck}


def _ages(now: datetime) -> Any:
    def age(text: str | None) -> str:
        if not text:
            return "never"
        return f"{span((now - datetime.fromisoformat(text)).total_seconds())} ago"

    return age
