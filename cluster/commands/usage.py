"""The command about what models cost."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from cluster.commands.asking import AsJson, connected, print_json
from cluster.tables import usage_view

app = typer.Typer()


@app.command()
def usage(
    first: Annotated[str | None, typer.Option("--from", metavar="DAY", help="The first day (UTC): 2026-01-31.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="The last day; else today.")] = None,
    by: Annotated[str, typer.Option(help="day, workflow, node (with --workflow), model or user.")] = "day",
    workflow: Annotated[UUID | None, typer.Option("--workflow", help="Only calls of this workflow.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what calls of models used and cost: by default on each of the last 30 days."""
    given = {"from": first, "to": last, "by": by, "workflow_id": None if workflow is None else str(workflow)}
    params: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with connected() as client:
        found = client.ask("GET", "usage", params=params)
    if as_json:
        print_json(found)
    else:
        Console().print(usage_view(found))
