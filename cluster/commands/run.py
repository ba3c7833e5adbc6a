"""The command that executes a document and shows its result."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from cluster.client import TERMINAL_STATUSES, Client
from cluster.commands.asking import AsJson, connected, json_file, parsed, print_json
from cluster.showing import LiveExecution, show_execution
from cluster.tables import models_asked_view
from workflow.errors import BadInput

# How long the request itself waits for the end of the execution, before the stream is followed.
WAIT_S = 10
CALLS_SHOWN = 50

app = typer.Typer()


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The workflow's definition, a JSON document.")],
    given: Annotated[str, typer.Option("--input", help="The input as JSON, or @FILE.")] = "{}",
    watch: Annotated[bool, typer.Option("--watch", help="Show the nodes while they run.")] = False,
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Execute it in this process: no instance, no Ray, no PostgreSQL, nothing is stored. What would be a Ray task "
            "runs here as well. Ctrl-C cancels it (exit code 130), twice ends at once.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Execute a definition and show its nodes and output. Exit code 1 when it does not complete."""
    definition = json_file(file)
    if not isinstance(definition, dict):
        raise BadInput(f"{file} is not a workflow: it holds no JSON object", "not_an_object")
    value = json_file(Path(given[1:])) if given.startswith("@") else parsed(given.encode(), "--input")
    console = Console()
    if local:
        _run_here(definition, value, console, as_json=as_json)
        return
    with connected() as client:
        execution = _execute(client, json.dumps(definition).encode(), value, console, watch=watch and not as_json)
        nodes = client.nodes(execution["id"])
        asked = _models_asked(client, execution["id"]) if any(_asks_models(node) for node in nodes) else None
    if as_json:
        print_json({"execution": execution, "nodes": nodes})
    else:
        show_execution(console, execution, nodes)
        if asked is not None:
            console.print(asked)
    if execution["status"] != "completed":
        raise typer.Exit(1)


def _asks_models(node: dict[str, Any]) -> bool:
    return str(node["node_type"]).startswith("ai.")


def _models_asked(client: Client, identity: str) -> RenderableType:
    path = f"executions/{identity}/model-calls"
    return models_asked_view(
        client.listed(path, {}, CALLS_SHOWN), client.ask("GET", path, params={"limit": 1})["total"]
    )


def _run_here(definition: dict[str, Any], value: Any, console: Console, *, as_json: bool) -> None:
    from cluster.local_run import run_here  # the engine takes its time to import

    if as_json:
        shown, interrupted = run_here(definition, value, lambda _: None)
        print_json(shown)
    else:
        with LiveExecution(console) as live:
            shown, interrupted = run_here(definition, value, live.take)
        show_execution(console, shown["execution"], shown["nodes"])
    if interrupted:
        raise typer.Exit(130)
    if shown["execution"]["status"] != "completed":
        raise typer.Exit(1)


def follow_to_the_end(client: Client, identity: str, console: Console | None) -> dict[str, Any]:
    """Return an execution when it is over; with a console, show its nodes meanwhile."""
    if console is None:
        for _ in client.follow(identity):
            pass
    else:
        with LiveExecution(console) as live:
            for message in client.follow(identity):
                live.take(message)
    return client.execution(identity)


def _execute(client: Client, definition: bytes, value: Any, console: Console, *, watch: bool) -> dict[str, Any]:
    execution = client.execute(definition, value, wait_s=0 if watch else WAIT_S)
    if watch or execution.get("status") not in TERMINAL_STATUSES:
        return follow_to_the_end(client, str(execution["id"]), console if watch else None)
    return execution
