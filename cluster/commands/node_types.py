"""The commands about node types."""

from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from cluster.commands.asking import AsJson, connected, print_json
from cluster.tables import node_type_view, node_types_table

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_types(
    category: Annotated[str, typer.Option(help="Only those of this category.")] = "",
    text: Annotated[
        str, typer.Option("--search", help="Only those with this text in type, title or description.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the node types of the instance."""
    with connected() as client:
        found = client.ask("GET", "/api/v1/node-types", params={"category": category, "q": text})
    if as_json:
        print_json({"items": found["items"]})
    else:
        Console().print(node_types_table(found["items"]))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="TYPE", help="The type's name in documents.")], as_json: AsJson = False
) -> None:
    """Show a node type with its handles and the JSON Schema of its config."""
    with connected() as client:
        found = client.ask("GET", f"/api/v1/node-types/{quote(name, safe='')}")
    if as_json:
        print_json(found)
    else:
        Console().print(node_type_view(found))
