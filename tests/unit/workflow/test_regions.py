"""Regions against their definitions, by brute force: what is cut off when a vertex or an output is taken away."""

from hypothesis import given, settings
from hypothesis import strategies as st

from workflow.regions import ROOT, Link, Regions, ReturnsFromOutside, TwoEntries, find_regions


@st.composite
def flows(draw: st.DrawFn) -> tuple[int, list[Link], list[int], frozenset[int]]:
    count = draw(st.integers(1, 9))
    bodies = frozenset(draw(st.sets(st.integers(0, count - 1), max_size=3)))
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1), st.booleans())
    drawn = draw(st.lists(ends, max_size=16))
    links = [Link(s, t, s in bodies and body) for s, t, body in drawn if s != t]
    starts = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=2)))
    return count, links, starts, bodies


def reached(links: list[Link], starts: list[int], without: int = -1, without_body_of: int = -1) -> set[int]:
    todo = [start for start in starts if start != without]
    found = set(todo)
    while todo:
        vertex = todo.pop()
        for link in links:
            cut = link.body and link.source == without_body_of
            if link.source == vertex and not cut and link.target != without and link.target not in found:
                found.add(link.target)
                todo.append(link.target)
    return found


def dominated(links: list[Link], starts: list[int], upper: int) -> set[int]:
    return reached(links, starts) - reached(links, starts, without=upper)


def regions_or_none(flow: tuple[int, list[Link], list[int], frozenset[int]]) -> Regions | None:
    try:
        return find_regions(*flow)
    except (TwoEntries, ReturnsFromOutside):
        return None


@given(flows())
@settings(max_examples=600, deadline=None)
def test_returns_are_the_links_whose_target_dominates_their_source(flow):
    _, links, starts, _ = flow
    found = regions_or_none(flow)
    if found is None:
        return
    expected = {p for p, link in enumerate(links) if link.source in dominated(links, starts, link.target)}
    assert found.returning == expected
    everything = reached(links, starts)
    assert {v for v, region in enumerate(found.region_of) if region >= 0} == everything


@given(flows())
@settings(max_examples=600, deadline=None)
def test_a_body_is_what_only_its_output_leads_to(flow):
    _, links, starts, bodies = flow
    found = regions_or_none(flow)
    if found is None:
        return
    for node in bodies & reached(links, starts):
        region = found.regions[found.headed_by[node]]
        body = reached(links, starts) - reached(links, starts, without_body_of=node)
        assert set(region.members) == body


@given(flows())
@settings(max_examples=600, deadline=None)
def test_regions_nest_and_every_link_is_decided_once(flow):
    _, links, starts, _ = flow
    found = regions_or_none(flow)
    if found is None:
        return
    everything = reached(links, starts)
    members = [set(region.members) for region in found.regions]
    for one in members:
        for other in members:
            assert not one & other or one <= other or other <= one
    for number, region in enumerate(found.regions):
        if number == ROOT:
            continue
        assert region.header not in members[number]
        assert members[number] <= dominated(links, starts, region.header)
        assert region.header in members[region.parent]
        assert members[number] < members[region.parent]
        entering = [link for link in links if link.source in everything and link.target in members[number]]
        assert all(link.source in members[number] | {region.header} for link in entering)
    decided = [p for region in found.regions for p in (*region.enters, *region.returns, *region.exits)]
    assert len(decided) == len(set(decided))
    for position, link in enumerate(links):
        if link.source in everything and position not in decided:
            assert link.source not in found.headed_by
            assert found.region_of[link.source] == found.region_of[link.target]


@given(flows())
@settings(max_examples=600, deadline=None)
def test_what_is_refused_is_a_cycle_without_a_single_entry_or_a_return_from_outside(flow):
    _, links, starts, bodies = flow
    try:
        find_regions(*flow)
    except TwoEntries as refused:
        cycle = set(refused.cycle)
        everything = reached(links, starts)
        assert cycle <= everything
        assert not any(cycle <= dominated(links, starts, v) | {v} for v in cycle), "no node of it dominates the others"
    except ReturnsFromOutside as refused:
        link = links[refused.link]
        assert link.target in bodies
        assert link.source in reached(links, starts, without_body_of=link.target)


def test_a_chain_of_five_thousand_and_a_comb_are_quick():
    count = 5_000
    chain = [Link(i, i + 1) for i in range(count - 1)]
    comb = [Link(0, i) for i in range(1, count - 1)] + [Link(i, count - 1) for i in range(1, count - 1)]
    for links in (chain, comb):
        assert find_regions(count, links, [0], frozenset()).regions[ROOT].direct == tuple(range(count))
