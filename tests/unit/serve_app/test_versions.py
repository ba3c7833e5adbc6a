"""What replicas remember of versions: one question for many callers, and none for what was told a moment ago."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from actors.ids import new_id
from serve_app.services import Versions
from tests.graphs import document
from workflow.document import Document
from workflow.errors import NotFound, StoreUnavailable

WORKSPACE, WORKFLOW = new_id(), new_id()


@dataclass(frozen=True)
class Stored:
    definition: dict


@dataclass
class Workflows:
    """Stands for the repository: counts what it is asked, and answers a turn of the loop later."""

    number: int = 1
    asked: list[str] = field(default_factory=list)
    failing: bool = False

    async def current_version(self, workspace_id: UUID, workflow_id: UUID) -> int:
        self.asked.append("current")
        await asyncio.sleep(0)
        if self.failing:
            raise StoreUnavailable("away")
        if workflow_id != WORKFLOW:
            raise NotFound("there is none")
        return self.number

    async def get_version(self, workspace_id: UUID, workflow_id: UUID, number: int) -> Stored:
        self.asked.append(f"version {number}")
        await asyncio.sleep(0)
        return Stored(document("a -> b").model_dump(mode="json"))


class Documents:
    async def apart(self, definitions, look):
        await asyncio.sleep(0)
        return look(Document.model_validate(definitions[0]))


async def test_many_callers_at_once_are_one_question():
    workflows = Workflows()
    versions = Versions(workflows, Documents())

    found = await asyncio.gather(*(versions.current(WORKSPACE, WORKFLOW) for _ in range(50)))

    assert {one.version for one in found} == {1}
    assert workflows.asked == ["current", "version 1"]


async def test_a_version_made_here_is_asked_for_anew():
    workflows = Workflows()
    versions = Versions(workflows, Documents())
    await versions.current(WORKSPACE, WORKFLOW)
    workflows.number = 2

    assert (await versions.current(WORKSPACE, WORKFLOW)).version == 1, "it was current a moment ago"
    versions.forget(WORKSPACE, WORKFLOW)
    assert (await versions.current(WORKSPACE, WORKFLOW)).version == 2


async def test_what_failed_is_not_remembered():
    workflows = Workflows(failing=True)
    versions = Versions(workflows, Documents())

    answers = await asyncio.gather(*(versions.current(WORKSPACE, WORKFLOW) for _ in range(3)), return_exceptions=True)
    workflows.failing = False

    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert (await versions.current(WORKSPACE, WORKFLOW)).version == 1


async def test_a_caller_that_goes_away_takes_nobody_along():
    workflows = Workflows()
    versions = Versions(workflows, Documents())
    first = asyncio.create_task(versions.current(WORKSPACE, WORKFLOW))
    second = asyncio.create_task(versions.current(WORKSPACE, WORKFLOW))
    await asyncio.sleep(0)

    first.cancel()

    assert (await second).version == 1
    with pytest.raises(NotFound):
        await versions.current(WORKSPACE, new_id())
