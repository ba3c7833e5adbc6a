"""After the storm: all evidence held against all invariants."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from nodes.catalog import load_catalog
from tests.storm import audit
from tests.storm.evidence import Story, stories, unread_signals
from tests.storm.invariants import Effects, Violation, story, submissions
from tests.storm.journal import Submission, Submissions
from tests.storm.shapes import Shape
from tests.storm.sink import Seen
from workflow.document import parse_document
from workflow.plan import Plan, make_plan

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

    def judge(self, dsn: str, known: Submissions, seen: list[Seen]) -> None:
        """Read everything once and judge it."""
        effects = Effects(seen)
        catalog = load_catalog()
        plans = {name: make_plan(parse_document(shape.document), catalog) for name, shape in self.shapes.items()}
        self.owned = {name: set() for name in self.tenants.values()}
        stored: dict[UUID, tuple[str, str | None]] = {}
        by_id = {identity: submission for submission in known.values() for identity in submission.ids}
        for told in stories(dsn):
            tenant = self.tenants[told.workspace_id]
            stored[told.id] = tenant, told.key
            self.owned[tenant].add(told.id)
            self._count(told)
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

    def _count(self, told: Story) -> None:
        self.by_status[told.status] += 1
        self.node_results += told.node_results
        self.taken_over += told.epoch > 1
        if told.status == "failed":
            self.errors[told.error.split(" ")[0]] += 1
        for event in told.events:
            if event.kind in ("node.completed", "node.failed"):
                for name, (begun_s, over_s) in self.spans.items():
                    self.results_in[name] += begun_s <= event.at_ms / 1000 < over_s
