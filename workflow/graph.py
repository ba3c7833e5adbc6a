"""Questions about a plan's graph. Iterative, so that a chain of any length is answered."""

from workflow.plan import Plan


def find_cycle(plan: Plan) -> tuple[int, ...]:
    """Return the nodes of one cycle in order, or nothing when there is none."""
    state = [0] * len(plan.nodes)  # 0 not seen, 1 on the path, 2 done
    for root in range(len(plan.nodes)):
        if state[root]:
            continue
        path: list[int] = [root]
        ways = [iter(plan.nodes[root].outputs)]
        state[root] = 1
        while path:
            edge = next(ways[-1], None)
            if edge is None:
                state[path.pop()] = 2
                ways.pop()
            elif state[edge.target] == 1:
                return tuple(path[path.index(edge.target) :])
            elif state[edge.target] == 0:
                state[edge.target] = 1
                path.append(edge.target)
                ways.append(iter(plan.nodes[edge.target].outputs))
    return ()


def reachable(plan: Plan) -> set[int]:
    """Return the nodes that some start leads to."""
    found = {node.index for node in plan.nodes if node.start}
    todo = list(found)
    while todo:
        for edge in plan.nodes[todo.pop()].outputs:
            if edge.target not in found:
                found.add(edge.target)
                todo.append(edge.target)
    return found


def ends(plan: Plan) -> list[int]:
    """Return the nodes that nothing follows, in the order of the document."""
    return [node.index for node in plan.nodes if not node.outputs]
