"""The workflows of the load, and what each must give: computed here, without Rayloom, from its input and the sink's answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.chaos.work import chain, node

Given = list[dict[str, Any]]
Answers = Mapping[tuple[str, int], int]
"""The serial number in the committed output of each run of each effect, by node and run index."""
Output = dict[str, Any]

ROUNDS = 3
TASK_S = 0.6
FLAKY_RETRY = {"max_attempts": 4, "backoff": "fixed", "initial_ms": 200}


@dataclass(frozen=True)
class Shape:
    """One kind of workflow. `runs` names its effects by node and run index; `refused` those that the sink refuses."""

    name: str
    weight: int
    document: dict[str, Any]
    given: Callable[[int, str], Given]
    expected: Callable[[Given, Answers], Output]
    runs: tuple[tuple[str, int], ...]
    refused: frozenset[str] = frozenset()


def shapes(port: int, effect_ms: int) -> dict[str, Shape]:
    """Return the shapes by name, for a sink on this port whose answers take about so many milliseconds."""
    made = [_chain(port), _fan(port), _loop(port), _caught(port), _forked(port), _task(port)]
    given = {shape.name: shape.given for shape in made}

    def slow(name: str) -> Callable[[int, str], Given]:
        return lambda n, t: [{**item, "ms": _ms(item["n"], effect_ms)} for item in given[name](n, t)]

    return {shape.name: Shape(**{**vars(shape), "given": slow(shape.name)}) for shape in made}


def _ms(n: int, about: int) -> int:
    """Return a delay between half and one and a half of the usual one, always the same for an n."""
    return about // 2 + n * 7919 % max(about, 1)


def _one(n: int, tenant: str) -> Given:
    return [{"n": n, "t": tenant}]


def _post(port: int, shape: str, node_id: str, mood: str = "", **fields: Any) -> dict[str, Any]:
    query = "?n={{ $json.n }}&t={{ $json.t }}&ms={{ $json.ms }}" + (f"&mood={mood}" if mood else "")
    url = f"http://127.0.0.1:{port}/{shape}/{node_id}{query}"
    return {**node(node_id, "action.http", method="POST", url=url), **fields}


def _set(node_id: str, **values: Any) -> dict[str, Any]:
    return node(node_id, "data.set", values=values)


def _python(node_id: str, code: str, **resources: Any) -> dict[str, Any]:
    return node(node_id, "action.code", resources, code=code, language="python")


def _javascript(node_id: str, code: str) -> dict[str, Any]:
    return node(node_id, "action.code", code=code, language="javascript")


def _drawn(name: str, nodes: list[dict[str, Any]], drawing: str) -> dict[str, Any]:
    """Return a workflow drawn as `a -> b:handle -> c; …`, behind a trigger called start."""
    connections = []
    for line in drawing.split(";"):
        ends = [end.strip().partition(":") for end in line.split("->")]
        for (source, _, handle), (target, _, _) in pairwise(ends):
            connections.append({"source": source, "sourceHandle": handle or "main", "target": target})
    return {"name": name, "nodes": [node("start", "trigger.manual"), *nodes], "connections": connections}


def _chain(port: int) -> Shape:
    document = chain(
        "chain",
        _set("twice", two="{{ $json.n * 2 }}"),
        _post(port, "chain", "post"),
        _set("mark", sum="{{ $json.n + $json.serial }}", two="{{ $('twice').item.json.two }}"),
        _python("py", "return [{**item, 'triple': item['sum'] * 3} for item in items]"),
        _javascript("js", "return items.map(item => ({...item, label: `${item.t}-${item.triple}`}))"),
        _set("more", plus="{{ $json.two + $json.triple }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, answers: Answers) -> Output:
        n, t, serial = given[0]["n"], given[0]["t"], answers["post", 0]
        triple = (n + serial) * 3
        item = {"n": n, "t": t, "serial": serial, "sum": n + serial, "two": n * 2, "triple": triple}
        return {"end": [{**item, "label": f"{t}-{triple}", "plus": n * 2 + triple}]}

    return Shape("chain", 30, document, _one, expected, (("post", 0),))


def _fan(port: int) -> Shape:
    nodes = [
        *(_set(lane, lane=lane) for lane in "abcd"),
        _post(port, "fan", "post_a"),
        _post(port, "fan", "post_b"),
        _python("code_c", "return [{'n': item['n'], 't': item['t'], 'serial': item['n'] % 7} for item in items]"),
        node("join", "logic.merge", inputs=4),
        _python(
            "total",
            "total = 0\nfor item in items:\n    total = total + item.get('serial', 0)\n"
            "return [{'t': items[0]['t'], 'count': len(items), 'total': total}]",
        ),
        node("end", "logic.noop"),
    ]
    drawing = (
        "start -> a -> post_a -> join; start -> b -> post_b -> join; start -> c -> code_c -> join; "
        "start -> d -> join; join -> total -> end"
    )

    def expected(given: Given, answers: Answers) -> Output:
        total = answers["post_a", 0] + answers["post_b", 0] + given[0]["n"] % 7
        return {"end": [{"t": given[0]["t"], "count": 4, "total": total}]}

    return Shape("fan", 25, _drawn("fan", nodes, drawing), _one, expected, (("post_a", 0), ("post_b", 0)))


def _loop(port: int) -> Shape:
    nodes = [
        node("loop", "logic.loop"),
        _post(port, "loop", "post"),
        _set("note", run="{{ $runIndex }}", was="{{ $('start').item.json.n }}"),
        _python(
            "tally",
            "total = 0\nfor item in items:\n    total = total + item['serial'] * (item['run'] + 1)\n"
            "return [{'t': items[0]['t'], 'was': [item['was'] for item in items], 'total': total}]",
        ),
        _set("half", half="{{ $json.total / 2 }}"),
        node("end", "logic.noop"),
    ]
    drawing = (
        "start -> loop; loop:loop -> post -> note -> rest; rest -> loop; loop:done -> tally -> half -> last -> end"
    )
    nodes += [node("rest", "logic.noop"), _set("last", rounds="{{ $json.was.length }}")]

    def given(n: int, tenant: str) -> Given:
        return [{"n": n * 10 + number, "t": tenant} for number in range(ROUNDS)]

    def expected(given: Given, answers: Answers) -> Output:
        total = sum(answers["post", run] * (run + 1) for run in range(ROUNDS))
        was = [item["n"] for item in given]
        return {"end": [{"t": given[0]["t"], "was": was, "total": total, "half": _js(total / 2), "rounds": ROUNDS}]}

    runs = tuple(("post", run) for run in range(ROUNDS))
    return Shape("loop", 20, _drawn("loop", nodes, drawing), given, expected, runs)


def _caught(port: int) -> Shape:
    nodes = [
        _post(port, "caught", "ask", "refuse", on_error="error_output"),
        _set("never", never=True),
        node("told", "data.set", values={"how": "{{ $json.error.code }}"}, remove=["error"]),
        _post(port, "caught", "flaky", "flaky", retry=FLAKY_RETRY),
        _set("seen", how="{{ $('told').item.json.how }}"),
        _javascript("shout", "return items.map(item => ({...item, how: item.how.toUpperCase()}))"),
        node("end", "logic.noop"),
    ]
    drawing = "start -> ask -> never; ask:error -> told -> flaky -> seen -> shout -> end"

    def expected(given: Given, answers: Answers) -> Output:
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": answers["flaky", 0], "how": "HTTP_422"}
        return {"end": [item]}

    return Shape(
        "caught",
        10,
        _drawn("caught", nodes, drawing),
        _one,
        expected,
        (("ask", 0), ("flaky", 0)),
        frozenset({"ask"}),
    )


def _forked(port: int) -> Shape:
    even = [{"left": "{{ $json.n % 2 === 0 }}", "operator": "is_true"}]
    nodes = [
        node("even", "logic.if", conditions=even),
        _set("left", side="left"),
        _post(port, "forked", "post"),
        _set("right", side="right"),
        _javascript("wait", "return items.map(item => ({...item, square: item.n * item.n}))"),
        node("join", "logic.merge"),
        _set("last", last="{{ $json.side ?? 'left' }}"),
        node("end", "logic.noop"),
    ]
    drawing = (
        "start -> post -> even; even:true -> left -> join; even:false -> right -> wait -> join; join -> last -> end"
    )

    def expected(given: Given, answers: Answers) -> Output:
        n = given[0]["n"]
        item: dict[str, Any] = {"n": n, "t": given[0]["t"], "serial": answers["post", 0]}
        if n % 2 == 0:
            return {"end": [{**item, "side": "left", "last": "left"}]}
        return {"end": [{**item, "side": "right", "square": n * n, "last": "right"}]}

    return Shape("forked", 12, _drawn("forked", nodes, drawing), _one, expected, (("post", 0),))


def _task(port: int) -> Shape:
    far = f"import time\ntime.sleep({TASK_S})\nreturn [{{**item, 'far': item['n'] % 11}} for item in items]"
    document = chain(
        "task",
        _set("ready", ready=True),
        _python("far", far, cpu=1),
        _set("back", back="{{ $json.far + 1 }}"),
        _post(port, "task", "post"),
        _set("fold", sum="{{ $('back').item.json.back + $json.serial }}"),
        _set("more", sum="{{ $json.sum * 2 }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, answers: Answers) -> Output:
        n, serial = given[0]["n"], answers["post", 0]
        item = {"n": n, "t": given[0]["t"], "serial": serial, "sum": (n % 11 + 1 + serial) * 2}
        return {"end": [item]}

    return Shape("task", 8, document, _one, expected, (("post", 0),))


def _js(number: float) -> int | float:
    """Return a number as JSON of JavaScript shows it: without a fraction where there is none."""
    return int(number) if number == int(number) else number
