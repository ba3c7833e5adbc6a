"""A hundred thousand events of the whole engine under seeded faults; a failing seed is printed and plays again."""

from collections import Counter

from tests.simulation.play import play
from tests.simulation.world import Story

EVENTS = 100_000
FAULTS = {
    "kill",
    "freeze",
    "outage",
    "ambiguous commit",
    "failed flush",
    "lost push",
    "doubled push",
    "worker lost",
    "cancel",
    "fenced",
    "failed put",
    "fetched blobs",
    "pause",
    "resume",
    "rested",
    "timer",
    "lapse",
    "answer",
    "nobody answered",
    "child",
    "held",
    "refused",
    "superseded",
    "let go",
    "room was made",
}


def test_every_guarantee_holds_over_a_hundred_thousand_events_and_every_kind_of_fault():
    events, seed = 0, 0
    faults: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    compared = 0
    while events < EVENTS:
        seed += 1
        report = play(Story(seed=seed))
        events += report.events
        compared += report.as_undisturbed
        faults += report.faults
        statuses += report.executions
    print(f"\n{seed} seeds, {events} events, {dict(statuses)}, {dict(faults)}, {compared} as undisturbed")
    assert set(faults) >= FAULTS, "no kind of fault was left out"
    assert set(statuses) == {"completed", "failed", "cancelled", "timeout"}
    assert compared > statuses["completed"] // 2


def test_a_seed_plays_the_same_story_again():
    story = Story(seed=7, executions=60)
    assert play(story) == play(story)
