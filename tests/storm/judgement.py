"""After the storm: all evidence held against all invariants."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from nodes.catalog import load_catalog
from tests.storm import audit, resting
from tests.storm.drawing import Shape
from tests.storm.evidence import Story, stories, unread_signals, until_children_end
from tests.storm.invariants import Effects, Violation, story, submissions
from tests.storm.journal import Submission, Submissions
from tests.storm.sink import Seen
from workflow.document import parse_document
from workflow.plan import Plan, make_plan

CHILDREN_END_S = 15.0
"""Within so many seconds after its parent a child that was waited for has heard of the end."""
Span = tuple[float, float]


@dataclass(slots=True)
class Judgement:
    """What the evidence says. `spans` are stretches of time (Unix seconds) in which node results are counted."""

    shapes: Mapping[str, Shape]
    tenants: Mapping[UUID, str]
    spans: Mapping[str, Span]
    violations: list[Violation] = field(default_factory=list)
    by_status: Counter[str] = field(default_factory=Counter)
    owned: dict[str, set[UUID]] = field(default_factory=dict)
    node_results: int = 0
    results_in: Counter[str] = field(default_factory=Counter)
    taken_over: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    effects_sent_again: int = 0
    signals_left_unread: int = 0
    """Of executions that have ended: whoever left them was too late."""
    rested: Counter[str] = field(default_factory=Counter)
    """How much of what waits was held against the invariants."""

    def judge(self, dsn: str, known: Submissions, seen: list[Seen]) -> None:
        """Read everything once and judge it."""
        effects = Effects(seen)
        catalog = load_catalog()
        kinds = [each for shape in self.shapes.values() for each in (shape, shape.child) if each is not None]
        plans = {shape.name: make_plan(parse_document(shape.document), catalog) for shape in kinds}
        until_children_end(dsn, CHILDREN_END_S)
        self.owned = {name: set() for name in self.tenants.values()}
        stored: dict[UUID, tuple[str, str | None]] = {}
        by_id = {identity: submission for submission in known.values() for identity in submission.ids}
        for told in stories(dsn):
            tenant = self.tenants[told.workspace_id]
            self.owned[tenant].add(told.id)
            self._count(told)
            if told.parent_id is not None:
                self._judge_child(told, by_id.get(told.parent_id), plans, effects)
                continue
            stored[told.id] = tenant, told.key
            # One that was accepted without its client hearing of it is known by its key.
            submission = by_id.get(told.id) or known.get((tenant, told.key or ""))
            if submission is not None:
                self._judge_one(told, submission, plans, effects)
        self.violations += submissions(known, stored)
        self.violations += effects.violations()
        self.violations += [
            Violation("audit", f"{found.what}: {found.execution_id} {found.detail}") for found in audit.findings(dsn)
        ]
        self.effects_sent_again = effects.again
        self.signals_left_unread = unread_signals(dsn)

    def _judge_one(self, told: Story, submission: Submission, plans: Mapping[str, Plan], effects: Effects) -> None:
        shape = self.shapes[submission.shape]
        self.violations += story(told, submission, shape, plans[shape.name], effects)
        self.violations += resting.story(told, submission, shape, effects)

    def _judge_child(self, told: Story, parent: Submission | None, plans: Mapping[str, Plan], effects: Effects) -> None:
        shape = None if parent is None else self.shapes[parent.shape].child
        if parent is None or shape is None:
            self.violations.append(Violation("child", f"{told.id} is a child of {told.parent_id}, which has none"))
            return
        asked_for = resting.as_child(told, parent, self.shapes[parent.shape])
        self.violations += story(told, asked_for, shape, plans[shape.name], effects)
        self.violations += resting.story(told, asked_for, shape, effects)

    def _count(self, told: Story) -> None:
        self.by_status[told.status] += 1
        self.node_results += told.node_results
        self.taken_over += told.epoch > 1
        if told.status == "failed":
            self.errors[told.error.split(" ")[0]] += 1
        self.rested += resting.counted(told)
        for event in told.events:
            if event.kind in ("node.completed", "node.failed"):
                for name, (begun_s, over_s) in self.spans.items():
                    self.results_in[name] += begun_s <= event.at_ms / 1000 < over_s
