"""Evaluates many expressions at once in the engine, and keeps the error of each."""

from dataclasses import dataclass, field
from typing import Any

from nodes.data_set import SPEC
from tests.unit.nodes.conftest import EXECUTION_ID, NOW_MS, WORKFLOW_ID
from workflow.config import ConfigTemplate, Frame
from workflow.scripts import ExpressionLimits, ScriptError, ScriptResults, Scripts, ScriptTask
from workflow.spec import Config, JsonObject


@dataclass
class Recorder(Scripts):
    """Passes on to the engine, and keeps what it answered."""

    scripts: Scripts
    tasks: list[ScriptTask] = field(default_factory=list)
    results: list[ScriptResults] = field(default_factory=list)

    async def evaluate(self, task: ScriptTask, limits: ExpressionLimits) -> ScriptResults:
        self.tasks.append(task)
        self.results.append(await self.scripts.evaluate(task, limits))
        return self.results[-1]


def frame(*objects: JsonObject, **more: Any) -> Frame:
    known = {
        "items": [{"json": each} for each in objects],
        "execution_id": EXECUTION_ID,
        "workflow_id": WORKFLOW_ID,
        "workflow_name": "Orders",
        "now_ms": NOW_MS,
    }
    return Frame(**{**known, **more})


async def resolve(scripts: Scripts, values: Any, given: Frame, limits: ExpressionLimits | None = None) -> Config:
    """Fill in `values` as `data.set` would see them."""
    return await ConfigTemplate({"values": values}, SPEC).resolve(given, scripts, limits)


async def javascript(
    scripts: Scripts, sources: list[str], given: Frame, limits: ExpressionLimits | None = None
) -> list[list[Any]]:
    """Return, by source and item, the value or the `ScriptError`; all of them are evaluated by the engine."""
    recorder = Recorder(scripts)
    values = {str(index): f"{{{{(\n{source}\n)}}}}" for index, source in enumerate(sources)}
    await resolve(recorder, values, given, limits)
    [results] = recorder.results
    found: list[list[Any]] = [list(column) for column in results.values]
    for error in results.errors:
        found[error.script][error.item] = error
    return found


async def one(scripts: Scripts, source: str, given: Frame | None = None, limits: ExpressionLimits | None = None) -> Any:
    """Return the value of one expression for one item, or its `ScriptError`."""
    [[value]] = await javascript(scripts, [source], given or frame({}), limits)
    return value


def message(value: Any) -> str:
    assert isinstance(value, ScriptError), value
    return value.message
