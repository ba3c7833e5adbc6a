"""The commands about workflows."""

import json
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from cluster.commands.asking import AsJson, Count, connected, json_file, print_json
from cluster.tables import diff_view, findings_view, versions_table, workflow_view, workflows_table
from workflow.errors import BadInput

app = typer.Typer(no_args_is_help=True)

Identity = Annotated[UUID, typer.Argument(metavar="ID", help="The workflow's id.")]
Number = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The number of a version.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Exports or documents; - is the standard input.")]


@app.command("list")
def list_workflows(
    status: Annotated[list[str] | None, typer.Option(help="Only those in this state; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only those with this tag; may be repeated.")] = None,
    text: Annotated[str, typer.Option("--search", help="Only those with this text in name or description.")] = "",
    sort: Annotated[str, typer.Option(help="created_at, updated_at or name.")] = "created_at",
    limit: Count = 50,
    as_json: AsJson = False,
) -> None:
    """List workflows; archived ones only with --status archived."""
    params = {"status": status or [], "tag": tag or [], "q": text, "sort": sort}
    with connected() as client:
        found = client.listed("workflows", params, limit)
    if as_json:
        print_json({"items": found})
    else:
        Console().print(workflows_table(found))


@app.command()
def show(identity: Identity, as_json: AsJson = False) -> None:
    """Show a workflow with the nodes of its current version."""
    with connected() as client:
        found = client.ask("GET", f"workflows/{identity}")
    _answer(found, as_json=as_json)


@app.command("import")
def import_files(files: Files, as_json: AsJson = False) -> None:
    """Store workflows from files: all of them or, where one is not valid, none. A taken name gets a number."""
    entries: list[Any] = []
    for file in files:
        held = json_file(file)
        entries += held if isinstance(held, list) else [held]
    with connected() as client, Console(stderr=True).status("importing"):
        made = client.ask("POST", "workflows/import", body=entries)
    if as_json:
        print_json(made)
    else:
        Console().print(workflows_table(made["items"]))


@app.command()
def export(
    identity: Identity,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here, not to the standard output.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a workflow as a file to be imported elsewhere: without secrets, and without ids of this installation."""
    with connected() as client:
        found = client.ask("GET", f"workflows/{identity}/export")
    if output is not None:
        try:
            output.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise BadInput(f"{output} cannot be written: {error.strerror}", "unwritable") from None
    if output is None or as_json:
        print_json(found)
    errors = Console(stderr=True, quiet=as_json)
    for place in found["removed"]:
        errors.print(f"not exported, since it is private: {place}", style="yellow", highlight=False, soft_wrap=True)


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document or an export; - is the standard input.")],
    remote: Annotated[
        bool, typer.Option("--remote", help="Ask the instance, which may have other node types.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a document, here or by the instance; nothing is stored. Exit code 1 when it is not valid."""
    document = json_file(file)
    if isinstance(document, dict) and "definition" in document:
        document = document["definition"]
    if remote:
        with connected() as client:
            found = client.ask("POST", "workflows/validate", body={"definition": document})
    else:
        from cluster.validating import validate_here

        found = validate_here(document)
    if as_json:
        print_json(found)
    else:
        Console().print(findings_view(found))
    if not found["valid"]:
        raise typer.Exit(1)


@app.command()
def activate(identity: Identity, as_json: AsJson = False) -> None:
    """Take a workflow into service."""
    _change(identity, "activate", as_json=as_json)


@app.command()
def deactivate(identity: Identity, as_json: AsJson = False) -> None:
    """Take an active workflow out of service."""
    _change(identity, "deactivate", as_json=as_json)


@app.command()
def archive(identity: Identity, as_json: AsJson = False) -> None:
    """Archive a workflow; its versions and executions are kept."""
    with connected() as client:
        client.ask("DELETE", f"workflows/{identity}")
        found = client.ask("GET", f"workflows/{identity}")
    _answer(found, as_json=as_json)


@app.command()
def unarchive(identity: Identity, as_json: AsJson = False) -> None:
    """Bring an archived workflow back, as a draft."""
    _change(identity, "unarchive", as_json=as_json)


@app.command()
def versions(identity: Identity, limit: Count = 50, as_json: AsJson = False) -> None:
    """List the versions of a workflow, newest first."""
    with connected() as client:
        found = client.listed(f"workflows/{identity}/versions", {}, limit)
    if as_json:
        print_json({"items": found})
    else:
        Console().print(versions_table(found))


@app.command()
def restore(
    identity: Identity,
    version: Number,
    message: Annotated[str, typer.Option("--message", "-m", help="What is said of the change.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a next version with the content of an old one."""
    body = {"change_message": message} if message else {}
    with connected() as client:
        found = client.ask("POST", f"workflows/{identity}/versions/{version}/restore", body=body)
    _answer(found, as_json=as_json)


@app.command()
def diff(
    identity: Identity,
    version: Number,
    against: Annotated[
        int | None, typer.Option(min=1, help="The version to compare with; else the current one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed from another version to this one."""
    params = {} if against is None else {"against": against}
    with connected() as client:
        found = client.ask("GET", f"workflows/{identity}/versions/{version}/diff", params=params)
    if as_json:
        print_json(found)
    else:
        Console().print(diff_view(found), soft_wrap=True)


def _change(identity: UUID, action: str, *, as_json: bool) -> None:
    with connected() as client:
        found = client.ask("POST", f"workflows/{identity}/{action}")
    _answer(found, as_json=as_json)


def _answer(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        Console().print(workflow_view(found))
