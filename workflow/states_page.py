"""Writes `docs/states.md` from the tables of `workflow.states`: `python -m workflow.states_page docs/states.md`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from workflow.lifecycle import WORKFLOW_STATES, WORKFLOW_TRANSITIONS, WorkflowStatus
from workflow.states import (
    EXECUTION_STATES,
    EXECUTION_TRANSITIONS,
    NODE_STATES,
    NODE_TRANSITIONS,
    SETTLED,
    TERMINAL,
    ExecutionStatus,
    NodeStatus,
)

S = TypeVar("S", ExecutionStatus, NodeStatus, WorkflowStatus)
C = TypeVar("C", bound=str)

HEAD = """# States

This page is generated from `workflow/states.py` and `workflow/lifecycle.py` by `make docs`; a test fails when it is stale.

A status changes only along these tables. Terminal means for ever: a retry is a new execution that points at its parent.
"""


def page() -> str:
    """Return the page."""
    return "\n".join(
        [
            HEAD,
            "## Executions\n",
            _picture(EXECUTION_TRANSITIONS, TERMINAL, ExecutionStatus.QUEUED),
            _paragraphs(EXECUTION_STATES),
            _table(EXECUTION_TRANSITIONS),
            "## Nodes of an execution\n",
            _picture(NODE_TRANSITIONS, SETTLED, NodeStatus.PENDING),
            _paragraphs(NODE_STATES),
            _table(NODE_TRANSITIONS),
            "## Workflows\n",
            _picture(WORKFLOW_TRANSITIONS, frozenset(), WorkflowStatus.DRAFT),
            _paragraphs(WORKFLOW_STATES),
            _table(WORKFLOW_TRANSITIONS),
        ]
    )


def _picture(table: Mapping[tuple[S, C], S], ends: frozenset[S], start: S) -> str:
    arrows: dict[tuple[str, str], list[str]] = {}
    for (source, cause), target in table.items():
        if source is not target:
            arrows.setdefault((source.value, target.value), []).append(cause)
    lines: list[str] = [f"    [*] --> {start.value}"]
    lines += [f"    {source} --> {target}: {' / '.join(causes)}" for (source, target), causes in arrows.items()]
    lines += [f"    {end} --> [*]" for end in sorted(e.value for e in ends)]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def _paragraphs(states: Mapping[S, str]) -> str:
    return "\n".join(f"**{status.value}**: {text}\n" for status, text in states.items())


def _table(table: Mapping[tuple[S, C], S]) -> str:
    rows: list[str] = [f"| {source.value} | {cause} | {target.value} |" for (source, cause), target in table.items()]
    return "\n".join(["| from | by | to |", "| --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
