"""After the storm: all evidence held against all invariants."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tests.storm import audit, families
from tests.storm.causes import unknown_outcomes
from tests.storm.decisions import DECIDED
from tests.storm.evidence import Story, stories, unread_signals
from tests.storm.invariants import ENDED, Effects, Violation, facts_of, story, submissions
from tests.storm.journal import Submission, Submissions
from tests.storm.once import catalog
from tests.storm.shape import Facts, Shape
from tests.storm.sink import Seen
from tests.storm.waits import lateness_ms
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
    timers_late_ms: list[int] = field(default_factory=list)
    outcomes_unknown: int = 0
    decided: int = 0
    pauses: int = 0
    """Executions that were paused."""
    children: int = 0

    def judge(self, dsn: str, known: Submissions, seen: list[Seen]) -> None:
        """Read everything once and judge it."""
        effects = Effects(seen)
        types = catalog()
        plans = {name: make_plan(parse_document(shape.document), types) for name, shape in self.shapes.items()}
        self.owned = {name: set() for name in self.tenants.values()}
        stored: dict[UUID, tuple[str, str | None]] = {}
        by_id = {identity: submission for submission in known.values() for identity in submission.ids}
        parents: list[tuple[Story, Submission]] = []
        children: dict[UUID, list[Story]] = defaultdict(list)
        for told in stories(dsn):
            tenant = self.tenants[told.workspace_id]
            self.owned[tenant].add(told.id)
            self._count(told)
            if told.parent is not None:
                children[told.parent].append(told)
                continue
            stored[told.id] = tenant, told.key
            # One that was accepted without its client hearing of it is known by its key.
            submission = by_id.get(told.id) or known.get((tenant, told.key or ""))
            if submission is None:
                continue
            if self.shapes[submission.shape].child:
                parents.append((told, submission))
            else:
                self._judge_one(told, submission, plans, effects)
        for told, submission in parents:
            self._judge_family(told, submission, children.pop(told.id, []), plans, effects)
        for parent, orphans in children.items():
            self._complain("children", f"{[child.id for child in orphans]} have {parent} for a parent, which is none")
        self.violations += submissions(known, stored)
        self.violations += effects.violations()
        for found in audit.findings(dsn):
            self._complain("audit", f"{found.what}: {found.execution_id} {found.detail}")
        self.effects_sent_again = effects.again
        self.signals_left_unread = unread_signals(dsn)

    def _judge_one(
        self,
        told: Story,
        submission: Submission,
        plans: Mapping[str, Plan],
        effects: Effects,
        below: Sequence[Facts] = (),
    ) -> None:
        shape = self.shapes[submission.shape]
        self.violations += story(told, submission, shape, plans[shape.name], effects, below)
        self.timers_late_ms += lateness_ms(told)
        self.outcomes_unknown += unknown_outcomes(told, shape)
        self.decided += sum(request.status in DECIDED for request in told.requests)
        self.pauses += any(event.kind == "execution.paused" for event in told.events)

    def _judge_family(
        self,
        told: Story,
        submission: Submission,
        children: list[Story],
        plans: Mapping[str, Plan],
        effects: Effects,
    ) -> None:
        shape = self.shapes[submission.shape]
        given = shape.given(submission.n, submission.tenant)
        for found in families.children(told, children, len(given), ENDED):
            self._complain("children", f"{submission.tenant} {submission.key} ({told.id}): {found}")
        children.sort(key=lambda child: child.place)
        for child in children:
            if child.place < len(given):
                of_child = families.as_submitted(submission, child, given[child.place]["n"], shape.child)
                self._judge_one(child, of_child, plans, effects)
        below = [facts_of(child, self.shapes[shape.child], effects) for child in children]
        self._judge_one(told, submission, plans, effects, below)
        self.children += len(children)

    def _complain(self, invariant: str, what: str) -> None:
        self.violations.append(Violation(invariant, what))

    def _count(self, told: Story) -> None:
        self.by_status[told.status] += 1
        self.node_results += told.node_results
        self.taken_over += told.epoch > 1
        if told.status == "failed":
            self.errors[told.error.split(" ")[0]] += 1
        for event in told.events:
            if event.kind in ("node.completed", "node.failed") or event.gives_instead:
                for name, (begun_s, over_s) in self.spans.items():
                    self.results_in[name] += begun_s <= event.at_ms / 1000 < over_s
