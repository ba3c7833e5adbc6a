"""The commands about executions."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from cluster.client import Client
from cluster.commands.asking import AsJson, Count, connected, json_file, parsed, print_json
from cluster.commands.run import follow_to_the_end
from cluster.showing import show_execution
from cluster.tables import executions_table, logs_view, model_calls_view, stats_view
from workflow.errors import BadInput

app = typer.Typer(no_args_is_help=True)

Identity = Annotated[UUID, typer.Argument(metavar="ID", help="The execution's id.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow the new execution to its end, and show it.")]
Statuses = Annotated[list[str] | None, typer.Option("--status", help="Only those in this state; may be repeated.")]
OfWorkflow = Annotated[UUID | None, typer.Option("--workflow", help="Only those of this workflow.")]
Before = Annotated[str | None, typer.Option("--before", help="Only those made before: 2026-01-31T12:00:00Z.")]


@app.command("list")
def list_executions(
    status: Statuses = None,
    workflow: OfWorkflow = None,
    trigger: Annotated[list[str] | None, typer.Option(help="Only those begun in this way; may be repeated.")] = None,
    after: Annotated[str | None, typer.Option(help="Only those made at this time or later.")] = None,
    before: Before = None,
    limit: Count = 50,
    as_json: AsJson = False,
) -> None:
    """List executions, newest first."""
    params = _given(
        status=status, workflow_id=workflow, trigger_type=trigger, created_after=after, created_before=before
    )
    with connected() as client:
        found = client.listed("executions", params, limit)
    if as_json:
        print_json({"items": found})
    else:
        Console().print(executions_table(found))


@app.command()
def show(identity: Identity, as_json: AsJson = False) -> None:
    """Show an execution with its nodes and output."""
    with connected() as client:
        execution, nodes = client.execution(str(identity)), client.nodes(str(identity))
    if as_json:
        print_json({"execution": execution, "nodes": nodes})
    else:
        show_execution(Console(), execution, nodes)


@app.command()
def watch(identity: Identity, as_json: AsJson = False) -> None:
    """Follow an execution to its end. Exit code 1 when it does not complete."""
    with connected() as client:
        client.execution(str(identity))  # so that an id which is not there is said at once
        _watch(client, str(identity), as_json=as_json)


@app.command()
def cancel(identity: Identity, as_json: AsJson = False) -> None:
    """Ask for an execution to stop."""
    _wish(identity, "cancel", "to stop", as_json=as_json)


@app.command()
def pause(identity: Identity, as_json: AsJson = False) -> None:
    """Ask for an execution to pause: what is under way ends, and nothing further begins."""
    _wish(identity, "pause", "to pause", as_json=as_json)


@app.command()
def resume(identity: Identity, as_json: AsJson = False) -> None:
    """Let an execution go on that is paused, or about to be."""
    _wish(identity, "resume", "to go on", as_json=as_json)


@app.command()
def retry(identity: Identity, watch: Watch = False, as_json: AsJson = False) -> None:
    """Make a new execution of one that did not complete: it keeps all results and goes on with the rest.

    With --watch, exit code 1 when it does not complete.
    """
    _repeat(f"executions/{identity}/retry", {}, watch=watch, as_json=as_json)


@app.command()
def replay(
    identity: Identity,
    from_node: Annotated[
        str | None,
        typer.Option("--from", metavar="NODE", help="Run this node and what follows it; keep the other results."),
    ] = None,
    given: Annotated[str | None, typer.Option("--input", help="Another input as JSON, or @FILE.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The version of the workflow to execute.")] = None,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Make a new execution of one that has ended: all of it, or from a node on. With --watch, exit code 1 when it does not complete."""
    body: dict[str, Any] = _given(from_node=from_node)
    if version is not None:
        body["version"] = version
    if given is not None:
        body["input"] = json_file(Path(given[1:])) if given.startswith("@") else parsed(given.encode(), "--input")
    _repeat(f"executions/{identity}/replay", body, watch=watch, as_json=as_json)


@app.command()
def logs(
    identity: Identity,
    node: Annotated[str, typer.Option(help="Only those of this node.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print what the nodes of an execution printed."""
    with connected() as client:
        nodes = [one for one in client.nodes(str(identity)) if not node or one["node_id"] == node]
    if node and not nodes:
        raise BadInput(f"nothing of a node {node!r} is known in this execution", "no_such_node")
    if as_json:
        shown = ("node_id", "run_index", "status", "logs")
        print_json({"items": [{name: one.get(name) for name in shown} for one in nodes]})
    else:
        Console().print(logs_view(nodes), soft_wrap=True)


@app.command("model-calls")
def model_calls(identity: Identity, limit: Count = 50, as_json: AsJson = False) -> None:
    """List the calls of models that an execution made, with tokens and cost."""
    path = f"executions/{identity}/model-calls"
    with connected() as client:
        found = client.listed(path, {}, limit)
        total = client.ask("GET", path, params={"limit": 1})["total"]
    if as_json:
        print_json({"items": found, "total": total})
    else:
        Console().print(model_calls_view(found, total))


@app.command()
def delete(
    identities: Annotated[list[UUID] | None, typer.Argument(metavar="[ID...]", help="The executions.")] = None,
    before: Before = None,
    status: Statuses = None,
    workflow: OfWorkflow = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete executions that have ended: the named ones, or all made before a time. Exit code 1 when a named one is left."""
    if bool(identities) is bool(before) or (identities and (status or workflow)):
        raise BadInput("name executions, or give --before (and --status, --workflow)", "bad_arguments")
    if not yes and not as_json:
        typer.confirm("Delete them with their results and events?", abort=True, err=True)
    elif not yes:
        raise BadInput("with --json nobody is asked: add --yes", "bad_arguments")
    with connected() as client, Console(stderr=True, quiet=as_json).status("deleting") as progress:
        if identities:
            done = client.ask("POST", "executions/bulk-delete", body={"ids": [str(one) for one in identities]})
        else:
            wanted = _given(before=before, status=status, workflow_id=workflow)
            done = client.ask("POST", "executions/bulk-delete", body={"filter": wanted})
            while done["more"]:
                progress.update(f"{done['deleted']} deleted")
                again = client.ask("POST", "executions/bulk-delete", body={"filter": wanted})
                done = {**again, "deleted": done["deleted"] + again["deleted"]}
    if as_json:
        print_json(done)
    else:
        console = Console()
        console.print(f"{done['deleted']} deleted", highlight=False)
        for left in done["not_deleted"]:
            console.print(f"left: {left['id']} ({left['reason']})", style="yellow", highlight=False)
    if done["not_deleted"]:
        raise typer.Exit(1)


@app.command()
def stats(
    window: Annotated[str, typer.Option(help="1h, 24h, 7d or 30d.")] = "24h",
    workflow: OfWorkflow = None,
    as_json: AsJson = False,
) -> None:
    """Show how the executions of the last hour, day, week or month went."""
    with connected() as client:
        found = client.ask("GET", "executions/stats", params=_given(window=window, workflow_id=workflow))
    if as_json:
        print_json(found)
    else:
        Console().print(stats_view(found))


def _wish(identity: UUID, route: str, words: str, *, as_json: bool) -> None:
    with connected() as client:
        found = client.ask("POST", f"executions/{identity}/{route}")
    if as_json:
        print_json(found)
    else:
        Console().print(f"{identity} was asked {words}; it is {found['status']}", highlight=False)


def _repeat(path: str, body: dict[str, Any], *, watch: bool, as_json: bool) -> None:
    with connected() as client:
        made = client.ask("POST", path, body=body)
        if watch:
            _watch(client, made["id"], as_json=as_json)
        elif as_json:
            print_json(made)
        else:
            Console().print(f"{made['id']} was begun; it is {made['status']}", highlight=False)


def _watch(client: Client, identity: str, *, as_json: bool) -> None:
    """Follow an execution and show it. Raises `typer.Exit` when it does not complete."""
    console = Console()
    execution = follow_to_the_end(client, identity, None if as_json else console)
    nodes = client.nodes(identity)
    if as_json:
        print_json({"execution": execution, "nodes": nodes})
    else:
        show_execution(console, execution, nodes)
    if execution["status"] != "completed":
        raise typer.Exit(1)


def _given(**params: Any) -> dict[str, Any]:
    """Return what was given, as the API takes it."""
    return {
        name: str(value) if isinstance(value, UUID) else value for name, value in params.items() if value is not None
    }
