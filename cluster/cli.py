"""The command `rayloom`. Every failure is one clear sentence and an exit code, never a traceback.

Exit codes: 0 done · 1 failed: something does not answer, or the answer is no (an execution did not complete, a document is not valid,
the instance is not ready) · 2 what was asked is not valid: arguments, files, settings, or refused by the API · 130 interrupted.
"""

import sys

import typer
from rich.console import Console

from cluster.commands import executions, hitl, instance, node_types, run, usage, workflows
from cluster.showing import show_error
from workflow.errors import InvalidRequest, RayloomError

app = typer.Typer(
    name="rayloom",
    help="Durable workflows on Ray and PostgreSQL.",
    epilog="Exit codes: 0 done; 1 failed, or the answer is no; 2 what was asked is not valid; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(instance.app)
app.add_typer(run.app)
app.add_typer(usage.app)
app.add_typer(workflows.app, name="workflows", help="Workflows: list, check, move, take into service.")
app.add_typer(executions.app, name="executions", help="Executions: list, follow, pause, stop, delete.")
app.add_typer(hitl.app, name="hitl", help="What executions ask people: list, show, answer.")
app.add_typer(node_types.app, name="node-types", help="The catalogue of node types.")


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
