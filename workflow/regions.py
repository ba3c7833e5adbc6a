"""The regions of a graph: which nodes a loop or a try encloses. What the machine needs to run cycles, found once per plan.

A region has a header, one node, and members, the nodes that can be reached only through the header and that belong to it:

- A node type with a body (`NodeSpec.body`: `loop` of a loop, `try` of a try) heads the region of all nodes that can be
  reached only through that output. Whether a connection leads back to it does not matter.
- Any other node heads the natural loop of the connections that lead back to it: a connection returns when its target
  dominates its source (every way from a start to the source passes the target), and the members are the nodes that can
  reach such a source without passing the target.

A cycle that can be entered in two places has no header and is refused. Regions nest, or have nothing in common. A connection
is decided by its source, unless it leaves a region: then by the end of the outermost region that it leaves, because until
then another round may still use it.

Dominators: Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm", 2001.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ROOT = 0
"""The region of the whole graph; it has no header."""


@dataclass(frozen=True, slots=True)
class Link:
    """A connection by node numbers; `body` says that it leaves its source by the handle that opens a body."""

    source: int
    target: int
    body: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    """One region. `members` are those of inner regions, too; `direct` are the nodes that are in no inner region."""

    header: int
    parent: int
    members: tuple[int, ...]
    direct: tuple[int, ...]
    enters: tuple[int, ...]
    """Connections (by position) from the header to members: decided at each round."""
    returns: tuple[int, ...]
    """Connections from members to the header."""
    exits: tuple[int, ...]
    """Connections that the end of this region decides."""
    inner: tuple[int, ...]
    """The regions below it, at any depth."""


@dataclass(frozen=True, slots=True)
class Regions:
    """All regions of a graph; number `ROOT` is the whole."""

    regions: tuple[Region, ...]
    region_of: tuple[int, ...]
    """By node: the innermost region that it is a member of; -1 where no start leads to it."""
    headed_by: dict[int, int]
    """By header: its region."""
    returning: frozenset[int]
    """Connections that lead back to a header."""


class TwoEntries(Exception):
    """A cycle that can be entered in more than one place."""

    def __init__(self, cycle: tuple[int, ...]) -> None:
        super().__init__(cycle)
        self.cycle = cycle


class ReturnsFromOutside(Exception):
    """A connection leads back to a node with a body from outside of that body."""

    def __init__(self, link: int) -> None:
        super().__init__(link)
        self.link = link


def find_regions(count: int, links: Sequence[Link], starts: Sequence[int], bodies: frozenset[int]) -> Regions:
    """Find the regions of a graph of `count` nodes; `bodies` are the nodes whose type has a body.

    Raises `TwoEntries` or `ReturnsFromOutside`.
    """
    body_of = {node: count + 1 + number for number, node in enumerate(sorted(bodies))}
    flow = _Flow(count, links, starts, body_of)
    returning = {
        position
        for position, link in enumerate(links)
        if flow.reached(link.source) and flow.dominates(link.target, link.source)
    }
    _refuse_other_cycles(count, links, returning, flow)
    members: dict[int, set[int]] = {}
    for position in returning:
        link = links[position]
        if link.target in body_of and not flow.dominates(body_of[link.target], link.source):
            raise ReturnsFromOutside(position)
    for node, inside in body_of.items():
        if flow.reached(node):
            members[node] = {v for v in range(count) if flow.reached(v) and flow.dominates(inside, v)}
    for header in {links[p].target for p in returning} - bodies:
        sources = [links[p].source for p in returning if links[p].target == header]
        members[header] = _natural_loop(header, sources, links, flow)
    _close(members, bodies)
    return _nest(count, links, members, returning, flow)


class _Flow:
    """The graph from a virtual root; a node with a body passes its body's connections through a vertex of its own."""

    def __init__(self, count: int, links: Sequence[Link], starts: Sequence[int], body_of: dict[int, int]) -> None:
        self.root = count
        size = count + 1 + len(body_of)
        after: list[list[int]] = [[] for _ in range(size)]
        after[self.root] = list(starts)
        for node, inside in body_of.items():
            after[node].append(inside)
        for link in links:
            after[body_of[link.source] if link.body else link.source].append(link.target)
        self.after = after
        self._order, self._number = _postorder(after, self.root)
        before: list[list[int]] = [[] for _ in range(size)]
        for vertex in self._order:
            for target in after[vertex]:
                before[target].append(vertex)
        self._above = self._dominators(before)
        self._depth = self._depths()

    def reached(self, vertex: int) -> bool:
        return self._number[vertex] >= 0

    def dominates(self, upper: int, lower: int) -> bool:
        """Whether every way from the root to `lower` passes `upper`."""
        if not self.reached(lower) or not self.reached(upper):
            return False
        while self._depth[lower] > self._depth[upper]:
            lower = self._above[lower]
        return lower == upper

    def _dominators(self, before: list[list[int]]) -> list[int]:
        above = [-1] * len(before)
        above[self.root] = self.root
        changed = True
        while changed:
            changed = False
            for vertex in reversed(self._order):
                if vertex == self.root:
                    continue
                found = -1
                for source in before[vertex]:
                    if above[source] >= 0:
                        found = source if found < 0 else self._meet(source, found, above)
                if above[vertex] != found:
                    above[vertex], changed = found, True
        return above

    def _meet(self, one: int, other: int, above: list[int]) -> int:
        number = self._number
        while one != other:
            while number[one] < number[other]:
                one = above[one]
            while number[other] < number[one]:
                other = above[other]
        return one

    def _depths(self) -> list[int]:
        depth = [0] * len(self._above)
        for vertex in reversed(self._order):
            if vertex != self.root:
                depth[vertex] = depth[self._above[vertex]] + 1
        return depth


def _postorder(after: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    number = [-1] * len(after)
    seen = [False] * len(after)
    order: list[int] = []
    seen[root] = True
    path = [(root, iter(after[root]))]
    while path:
        vertex, ways = path[-1]
        target = next(ways, None)
        if target is None:
            path.pop()
            number[vertex] = len(order)
            order.append(vertex)
        elif not seen[target]:
            seen[target] = True
            path.append((target, iter(after[target])))
    return order, number


def _refuse_other_cycles(count: int, links: Sequence[Link], returning: set[int], flow: _Flow) -> None:
    after: list[list[int]] = [[] for _ in range(count)]
    for position, link in enumerate(links):
        if position not in returning and flow.reached(link.source):
            after[link.source].append(link.target)
    cycle = find_cycle(after)
    if cycle:
        raise TwoEntries(cycle)


def find_cycle(after: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the nodes of one cycle in order, or nothing when there is none. Iterative: a chain of any length is answered."""
    state = [0] * len(after)  # 0 not seen, 1 on the path, 2 done
    for root in range(len(after)):
        if state[root]:
            continue
        path = [root]
        ways = [iter(after[root])]
        state[root] = 1
        while path:
            target = next(ways[-1], None)
            if target is None:
                state[path.pop()] = 2
                ways.pop()
            elif state[target] == 1:
                return tuple(path[path.index(target) :])
            elif state[target] == 0:
                state[target] = 1
                path.append(target)
                ways.append(iter(after[target]))
    return ()


def _natural_loop(header: int, sources: list[int], links: Sequence[Link], flow: _Flow) -> set[int]:
    before: dict[int, list[int]] = {}
    for link in links:
        if flow.reached(link.source):
            before.setdefault(link.target, []).append(link.source)
    found: set[int] = set()
    todo = [source for source in sources if source != header]
    while todo:
        node = todo.pop()
        if node in found:
            continue
        found.add(node)
        todo.extend(source for source in before.get(node, ()) if source != header)
    return found


def _close(members: dict[int, set[int]], bodies: frozenset[int]) -> None:
    """A loop around a node with a body holds all of that body, also the ends of it that lead nowhere."""
    for header, own in members.items():
        if header not in bodies:
            own.update(*(members.get(inner, set()) for inner in bodies & own))


def _nest(count: int, links: Sequence[Link], members: dict[int, set[int]], returning: set[int], flow: _Flow) -> Regions:
    headers = sorted(members, key=lambda header: (-len(members[header]), header))
    number = {header: index + 1 for index, header in enumerate(headers)}
    region_of = [ROOT if flow.reached(v) else -1 for v in range(count)]
    for header in headers:  # from the largest to the smallest, so that the innermost one is what stays
        for node in members[header]:
            region_of[node] = number[header]
    parents = [ROOT, *(region_of[header] for header in headers)]
    reached_links = [(p, link) for p, link in enumerate(links) if flow.reached(link.source)]
    enters, returns, exits = _sort_links(reached_links, number, region_of, parents, returning)
    direct: list[list[int]] = [[] for _ in parents]
    for node, region in enumerate(region_of):
        if region >= 0:
            direct[region].append(node)
    inner: list[list[int]] = [[] for _ in parents]
    for region in range(1, len(parents)):
        above = region
        while above != ROOT:
            above = parents[above]
            inner[above].append(region)
    reached = [v for v in range(count) if flow.reached(v)]
    regions = [
        Region(
            header=-1 if index == ROOT else headers[index - 1],
            parent=parents[index],
            members=tuple(reached if index == ROOT else sorted(members[headers[index - 1]])),
            direct=tuple(direct[index]),
            enters=tuple(enters[index]),
            returns=tuple(returns[index]),
            exits=tuple(exits[index]),
            inner=tuple(inner[index]),
        )
        for index in range(len(parents))
    ]
    return Regions(tuple(regions), tuple(region_of), number, frozenset(returning))


def _sort_links(
    links: Sequence[tuple[int, Link]],
    number: dict[int, int],
    region_of: Sequence[int],
    parents: Sequence[int],
    returning: set[int],
) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Return the positions of the connections that enter, return to and leave each region."""
    enters: list[list[int]] = [[] for _ in parents]
    returns: list[list[int]] = [[] for _ in parents]
    exits: list[list[int]] = [[] for _ in parents]
    for position, link in links:
        inside = number.get(link.source, region_of[link.source])
        outside = region_of[link.target]
        if position in returning:
            returns[number[link.target]].append(position)
        elif link.source in number and outside == inside:
            enters[inside].append(position)
        elif inside != outside:
            while parents[inside] != outside:
                inside = parents[inside]
            exits[inside].append(position)
    return enters, returns, exits
