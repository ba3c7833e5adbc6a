"""The command `rayloom`. Every failure is one clear sentence and an exit code, never a traceback.

Exit codes: 0 done (of `run`: the execution is completed) · 1 failed · 2 the request was not valid.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cluster.client import TERMINAL_STATUSES, Client
from cluster.instance import Instance, open_instance
from cluster.record import KeeperRecord, read_record
from cluster.showing import (
    LiveExecution,
    checks_table,
    show_error,
    show_execution,
    show_status,
)
from cluster.up import bring_down, bring_up
from workflow.errors import BadInput, InvalidRequest, RayloomError, Unavailable

# How long the request itself waits for the end of the execution, before the stream is followed.
WAIT_S = 10

app = typer.Typer(
    name="rayloom", help="Durable workflows on Ray and PostgreSQL.", no_args_is_help=True, add_completion=False
)


@app.command()
def up() -> None:
    """Start Rayloom on this host, or say that it is up."""
    console = Console()
    began_s = time.monotonic()
    instance = open_instance()

    def stage(name: str, seconds: float) -> None:
        console.print(f"  {name:10} {seconds:6.1f} s", highlight=False)

    started = bring_up(instance, stage)
    if started.fresh:
        console.print(f"Rayloom is up after {time.monotonic() - began_s:.1f} s", style="green", highlight=False)
    else:
        console.print(f"Rayloom is {started.record.phase} already", style="green", highlight=False)
    _show_next(console, instance, started.record)


@app.command()
def down() -> None:
    """Stop Rayloom; no process of it is left."""
    console = Console()
    began_s = time.monotonic()

    def say(text: str) -> None:
        console.print(f"  {text}", highlight=False)

    if bring_down(open_instance(), say):
        console.print(f"Rayloom is down after {time.monotonic() - began_s:.1f} s", style="green", highlight=False)
    else:
        console.print("Rayloom was not up", highlight=False)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Show processes, ports and health. Exit code 1 when Rayloom is not up and ready."""
    instance = open_instance()
    record = read_record(instance.home) if instance.home.is_kept() else None
    health = _health(instance) if record is not None else {"ready": False}
    ready = bool(health.get("ready"))
    if as_json:
        document = {"up": record is not None, "ready": ready, "health": health}
        sys.stdout.write(json.dumps({**document, "keeper": asdict(record) if record else None}, indent=2) + "\n")
    elif record is None:
        Console().print("Rayloom is not up; start it with: rayloom up")
    else:
        show_status(Console(), record, health)
    if not ready:
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Look for everything that could make this installation fail. Exit code 0 only when nothing is found."""
    from cluster.doctor import examine

    checks = examine(open_instance())
    Console().print(checks_table(checks))
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The workflow's definition, a JSON document.")],
    given: Annotated[str, typer.Option("--input", help="The input as JSON, or @FILE.")] = "{}",
    watch: Annotated[bool, typer.Option("--watch", help="Show the nodes while they run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Execute a definition and show its nodes and output."""
    definition = _definition(file)
    value = _input(given)
    admin = open_instance().home.admin()
    console = Console()
    with Client(admin["base_url"], admin["workspace_id"], admin["api_key"]) as client:
        execution = _execute(client, definition, value, console, watch=watch and not as_json)
        nodes = client.nodes(execution["id"])
    if as_json:
        sys.stdout.write(json.dumps({"execution": execution, "nodes": nodes}, indent=2, ensure_ascii=False) + "\n")
    else:
        show_execution(console, execution, nodes)
    if execution["status"] != "completed":
        raise typer.Exit(1)


def _execute(client: Client, definition: bytes, value: Any, console: Console, *, watch: bool) -> dict[str, Any]:
    execution = client.execute(definition, value, wait_s=0 if watch else WAIT_S)
    identity = str(execution["id"])
    if watch:
        with LiveExecution(console) as live:
            for message in client.follow(identity):
                live.take(message)
        return client.execution(identity)
    if execution.get("status") not in TERMINAL_STATUSES:
        for _ in client.follow(identity):
            pass
        return client.execution(identity)
    return execution


def _definition(file: Path) -> bytes:
    found = _parsed(_read(file), str(file))
    if not isinstance(found, dict):
        raise BadInput(f"{file} is not a workflow: it holds no JSON object", "not_an_object")
    return json.dumps(found).encode()


def _input(given: str) -> Any:
    if given.startswith("@"):
        return _parsed(_read(Path(given[1:])), given[1:])
    return _parsed(given.encode(), "--input")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", "unreadable") from None


def _parsed(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadInput(f"{name} is not JSON: {error}", "not_json") from None


def _health(instance: Instance) -> dict[str, Any]:
    try:
        admin = instance.home.admin()
        with Client(admin["base_url"], admin["workspace_id"], admin["api_key"]) as client:
            return client.health()
    except Unavailable as error:
        return {"ready": False, "reason": error.message}


def _show_next(console: Console, instance: Instance, record: KeeperRecord) -> None:
    home, admin = instance.home, instance.home.admin()
    key = f'$({_quoted_python()} -c \'import json; print(json.load(open("{home.admin_file}"))["api_key"])\')'
    workspace = f"{record.base_url}/api/v1/workspaces/{admin['workspace_id']}"
    lines = [
        ("API", f"{record.base_url}/docs"),
        ("ask", f'curl -H "X-API-Key: {key}" {workspace}/executions'),
        ("execute", "rayloom run workflow.json --input '{}' --watch"),
        ("sign in", f"the addresses and secrets of the first administrator are in {home.admin_file}"),
        ("dashboard", f"{record.dashboard_url} (its token is in {home.token_file})" if record.dashboard_url else ""),
        ("stop", "rayloom down"),
    ]
    for name, text in lines:
        if text:
            console.print(Text.assemble((f"  {name:10} ", "bold"), text), soft_wrap=True)


def _quoted_python() -> str:
    return "python3"


def main() -> None:
    """Run the command line; the console script."""
    errors = Console(stderr=True)
    try:
        app(standalone_mode=True)
    except InvalidRequest as error:
        show_error(errors, error)
        sys.exit(2)
    except RayloomError as error:
        show_error(errors, error)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
