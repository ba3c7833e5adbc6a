"""Children: one for each place, each under its parent, none going on without it; their outputs are in its output. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.storm.evidence import Story
from tests.storm.journal import Submission


def children(parent: Story, below: Sequence[Story], places: int, ended: frozenset[str]) -> Iterator[str]:
    """Hold the children of an execution against the places for which there must be one."""
    found = Counter(child.place for child in below)
    for place, count in sorted(found.items()):
        if count > 1:
            yield f"it has {count} children for place {place}"
        if not 0 <= place < places:
            yield f"it has a child for place {place}, there are {places}"
    if parent.status == "completed" and len(found) != places:
        yield f"it has completed with children for {sorted(found)}, there are {places} places"
    for child in below:
        if child.workspace_id != parent.workspace_id:
            yield f"its child {child.id} is of another workspace"
        if parent.status in ended and child.status not in ended:
            yield f"it has ended, and its child {child.id} is {child.status}"
        if parent.status == "completed" and child.status != "completed":
            yield f"it has completed, and its child {child.id} is {child.status}"


def as_submitted(parent: Submission, child: Story, n: int, shape: str) -> Submission:
    """Return a child as if its parent's client had asked for it: it may end by itself, or because its parent was cancelled."""
    return Submission(
        tenant=parent.tenant,
        key=f"{parent.key}/{child.place}",
        shape=shape,
        n=n,
        sent_s=parent.sent_s,
        acknowledged_s=parent.acknowledged_s,
        ids={child.id},
        cancelled=parent.cancelled,
    )
