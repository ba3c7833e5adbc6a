"""The commands about the instance on this host: start and stop it, look at it, bring its database up to date."""

import time
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from cluster.client import Client
from cluster.commands.asking import AsJson, print_json
from cluster.instance import Instance, open_instance
from cluster.migrating import migrate_configured
from cluster.record import KeeperRecord, read_record
from cluster.showing import checks_table, show_status
from cluster.up import bring_down, bring_up
from workflow.errors import Unavailable

app = typer.Typer()


@app.command()
def up(as_json: AsJson = False) -> None:
    """Start Rayloom on this host, or say that it is up."""
    console = Console(quiet=as_json)
    began_s = time.monotonic()
    instance = open_instance()

    def stage(name: str, seconds: float) -> None:
        console.print(f"  {name:10} {seconds:6.1f} s", highlight=False)

    started = bring_up(instance, stage)
    if as_json:
        print_json({"fresh": started.fresh, "keeper": asdict(started.record)})
    elif started.fresh:
        console.print(f"Rayloom is up after {time.monotonic() - began_s:.1f} s", style="green", highlight=False)
    else:
        console.print(f"Rayloom is {started.record.phase} already", style="green", highlight=False)
    _show_next(console, instance, started.record)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop Rayloom; no process of it is left."""
    console = Console(quiet=as_json)
    began_s = time.monotonic()

    def say(text: str) -> None:
        console.print(f"  {text}", highlight=False)

    was_up = bring_down(open_instance(), say)
    if as_json:
        print_json({"was_up": was_up})
    elif was_up:
        console.print(f"Rayloom is down after {time.monotonic() - began_s:.1f} s", style="green", highlight=False)
    else:
        console.print("Rayloom was not up", highlight=False)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show processes, ports and health. Exit code 1 when Rayloom is not up and ready."""
    instance = open_instance()
    record = read_record(instance.home) if instance.home.is_kept() else None
    health = _health(instance) if record is not None else {"ready": False}
    ready = bool(health.get("ready"))
    if as_json:
        keeper = asdict(record) if record else None
        print_json({"up": record is not None, "ready": ready, "health": health, "keeper": keeper})
    elif record is None:
        Console().print("Rayloom is not up; start it with: rayloom up")
    else:
        show_status(Console(), record, health)
    if not ready:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look for everything that could make this installation fail. Exit code 0 only when nothing is found."""
    from cluster.doctor import examine

    checks = examine(open_instance())
    if as_json:
        print_json({"checks": [asdict(check) for check in checks]})
    else:
        Console().print(checks_table(checks))
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the configured database to the present tables: DATABASE_URL, or else the embedded one, running or not."""
    done = migrate_configured(open_instance())
    if as_json:
        print_json(asdict(done))
    elif done.before == done.after:
        Console().print(f"the database is at revision {done.after} already", highlight=False)
    else:
        Console().print(f"the database went from revision {done.before or 'none'} to {done.after}", highlight=False)


def _health(instance: Instance) -> dict[str, Any]:
    try:
        admin = instance.home.admin()
        with Client(admin["base_url"], admin["workspace_id"], admin["api_key"]) as client:
            return client.health()
    except Unavailable as error:
        return {"ready": False, "reason": error.message}


def _show_next(console: Console, instance: Instance, record: KeeperRecord) -> None:
    home, admin = instance.home, instance.home.admin()
    key = f'$(python3 -c \'import json; print(json.load(open("{home.admin_file}"))["api_key"])\')'
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
