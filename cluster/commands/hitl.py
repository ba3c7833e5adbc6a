"""The commands about what executions ask people."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from cluster.commands.asking import AsJson, Count, connected, parsed, print_json
from cluster.tables import request_view, requests_table

app = typer.Typer(no_args_is_help=True)

Identity = Annotated[UUID, typer.Argument(metavar="ID", help="The request's id.")]


@app.command("list")
def list_requests(
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help="Only those in this state; may be repeated. By default `pending`."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are closed, too.")] = False,
    execution: Annotated[UUID | None, typer.Option(help="Only those of this execution.")] = None,
    limit: Count = 50,
    as_json: AsJson = False,
) -> None:
    """List what executions ask, newest first."""
    params: dict[str, Any] = {} if everything else {"status": status or ["pending"]}
    if execution is not None:
        params["execution_id"] = str(execution)
    with connected() as client:
        found = client.listed("hitl", params, limit)
    if as_json:
        print_json({"items": found})
    else:
        Console().print(requests_table(found))


@app.command()
def show(identity: Identity, as_json: AsJson = False) -> None:
    """Show a request, with the link by which it is answered without a login."""
    with connected() as client:
        found = client.ask("GET", f"hitl/{identity}")
    if as_json:
        print_json(found)
    else:
        Console().print(request_view(found), soft_wrap=True)


@app.command()
def respond(
    identity: Identity,
    action: Annotated[str, typer.Argument(help="approve, reject, retry, ...: one of the request's actions.")] = "",
    data: Annotated[str, typer.Option(help="What the form asks for, as JSON.")] = "",
    comment: Annotated[str, typer.Option(help="Words that go with it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Answer a request. The first decision counts."""
    body = {"action": action, "comment": comment, "data": parsed(data.encode(), "--data") if data else None}
    with connected() as client:
        found = client.ask("POST", f"hitl/{identity}/respond", body=body)
    if as_json:
        print_json(found)
    else:
        Console().print(f"{identity} is {found['status']}", highlight=False)
