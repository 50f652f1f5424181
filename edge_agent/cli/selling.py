"""``sale`` and ``usage``: recording and showing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json, group, not_here, opened
from edge_agent.cli.exits import Exit, error_json
from edge_agent.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_agent.agent import EdgeAgent
    from edge_agent.recorded import Sale

sale_app = group("Record and show sales.\n\nExample: edge-agent sale record sale.json")
usage_app = group("Record promotion uses.\n\nExample: edge-agent usage record usage.json")

File = Annotated[str, typer.Argument(metavar="FILE|-", help="A file of one JSON object or JSON Lines; - for stdin.")]


@sale_app.command("record")
def sale_record(file: File, as_json: Json = False) -> None:
    """Record sales from a file: one JSON object, or one on each line. They are safe when this returns.

    Example: edge-agent sale record sales.jsonl
    """
    from edge_agent.forms import sale_form
    from edge_agent.records import sale_draft

    def record(agent: EdgeAgent, value: Any) -> tuple[dict[str, Any], str]:
        sale = agent.record(sale_draft(value, agent.place))
        again = " (already recorded)" if sale.existing else ""
        line = f"{sale.device_seq}  {sale.external_id}  {sale.kind}  {sale.total_amount} {sale.currency}{again}"
        return {"schema": 1, **sale_form(sale)}, "\n".join([line, *(f"  {warning}" for warning in sale.warnings)])

    _record_each(file, as_json, record)


@usage_app.command("record")
def usage_record(file: File, as_json: Json = False) -> None:
    """Record promotion uses from a file: one JSON object, or one on each line.

    Example: edge-agent usage record uses.jsonl
    """
    from dataclasses import asdict

    from edge_agent.records import usage_fields

    def record(agent: EdgeAgent, value: Any) -> tuple[dict[str, Any], str]:
        fields = dict(usage_fields(value))
        usage = agent.record_usage(
            fields.pop("promotion_id"),
            fields.pop("discount_amount"),
            sale=fields.pop("sale_external_id", None),
            **{key: value for key, value in fields.items() if value is not None},
        )
        result = {"schema": 1, **asdict(usage)}
        if not usage.existing:
            del result["existing"]
        return result, f"{usage.external_id}{' (already recorded)' if usage.existing else ''}"

    _record_each(file, as_json, record)


def _record_each(file: str, as_json: bool, record: Any) -> None:
    """Record each object of a file; a bad one is reported and the rest are recorded (G7)."""
    from edge_agent.errors import InvalidSale
    from edge_agent.records import read_records, read_text

    bad = 0
    with opened(as_json) as agent:
        for entry in read_records(read_text(file)):
            try:
                if entry.error is not None:
                    raise entry.error
                result, words = record(agent, entry.value)
            except InvalidSale as error:
                bad += 1
                if as_json:
                    print_json({"line": entry.line, **error_json(error)})
                print(f"edge-agent: line {entry.line}: nothing of it is stored: {error}", file=sys.stderr)
                continue
            if as_json:
                print_json({"line": entry.line, **result})
            else:
                print(words)
    if bad:
        raise typer.Exit(Exit.FAILED)


@sale_app.command("show")
def sale_show(
    external_id: Annotated[str, typer.Argument(metavar="ID", help="The sale's external_id.")], as_json: Json = False
) -> None:
    """Show one sale, and whether head office has it.

    Example: edge-agent sale show 01a1fc9b-fcb7-7dd4-b8fd-07d5bdb91fdc
    """
    from edge_agent.forms import delivery_form, sale_form

    with opened(as_json) as agent:
        recorded = agent.sale_record(external_id)
        sale = agent.sale(external_id)
        if recorded is None or sale is None:
            not_here(f"no sale {external_id} was recorded on this device", as_json)
            return
        if as_json:
            print_json({"schema": 1, **sale_form(sale), **delivery_form(recorded)})
            return
        print(f"{sale.kind.capitalize()} {sale.external_id}, number {sale.device_seq}, {sale.business_date}")
        print(f"Total {sale.total_amount} {sale.currency}; {_state_in_words(sale)}")
        for warning in _said(recorded.warnings):
            print(f"Head office remarks: {warning}")
        body = recorded.fields()
        if body is not None:
            print_table(
                ("line", "product", "quantity", "unit price", "discount"),
                [
                    (
                        line["line"],
                        _product_name(agent, line),
                        line["quantity"],
                        line["unit_price"],
                        line.get("discount"),
                    )
                    for line in body["items"]
                ],
                numeric=("line", "quantity", "unit price", "discount"),
            )


def _said(warnings: str | None) -> list[str]:
    """Head office's warnings with a taken sale, such as TOTAL_MISMATCH."""
    import msgspec

    return [str(warning) for warning in msgspec.json.decode(warnings)] if warnings else []


def _product_name(agent: EdgeAgent, line: dict[str, Any]) -> str:
    if "product_data" in line:
        return str(line["product_data"]["name"])
    product = agent.catalog.by_id(line["product"])
    return product.name if product else str(line["product"])


def _state_in_words(sale: Sale) -> str:
    return {
        "pending": "it waits for head office and is safe on this device.",
        "delivered": "head office has it.",
        "quarantined": f"head office refused it: {sale.reason} ({sale.code}).",
    }[sale.state]
