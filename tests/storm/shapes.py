"""The workflows of the load, and what each must give: computed here, without Rayloom, from its input and the sink's answers.

Those that wait for times, for people and for one another are in `patient`.
"""

from collections.abc import Callable
from typing import Any

from tests.chaos.work import chain, node
from tests.storm import patient
from tests.storm.shape import (
    Answers,
    Given,
    Output,
    Shape,
    drawn,
    javascript,
    js_number,
    one,
    post,
    python,
    setting,
)

ROUNDS = 3
TASK_S = 0.6
FLAKY_RETRY = {"max_attempts": 4, "backoff": "fixed", "initial_ms": 200}


def shapes(port: int, effect_ms: int) -> dict[str, Shape]:
    """Return the shapes by name, for a sink on this port whose answers take about so many milliseconds."""
    made = [_chain(port), _fan(port), _loop(port), _caught(port), _forked(port), _task(port), *patient.shapes(port)]
    given = {shape.name: shape.given for shape in made}

    def slow(name: str) -> Callable[[int, str], Given]:
        return lambda n, t: [{**item, "ms": _ms(item["n"], effect_ms)} for item in given[name](n, t)]

    return {shape.name: Shape(**{**vars(shape), "given": slow(shape.name)}) for shape in made}


def _ms(n: int, about: int) -> int:
    """Return a delay between half and one and a half of the usual one, always the same for an n."""
    return about // 2 + n * 7919 % max(about, 1)


def _chain(port: int) -> Shape:
    document = chain(
        "chain",
        setting("twice", two="{{ $json.n * 2 }}"),
        post(port, "chain", "post"),
        setting("mark", sum="{{ $json.n + $json.serial }}", two="{{ $('twice').item.json.two }}"),
        python("py", "return [{**item, 'triple': item['sum'] * 3} for item in items]"),
        javascript("js", "return items.map(item => ({...item, label: `${item.t}-${item.triple}`}))"),
        setting("more", plus="{{ $json.two + $json.triple }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, facts: Answers) -> Output:
        n, t, serial = given[0]["n"], given[0]["t"], facts["post", 0]
        triple = (n + serial) * 3
        item = {"n": n, "t": t, "serial": serial, "sum": n + serial, "two": n * 2, "triple": triple}
        return {"end": [{**item, "label": f"{t}-{triple}", "plus": n * 2 + triple}]}

    return Shape("chain", 30, document, one, expected, (("post", 0),))


def _fan(port: int) -> Shape:
    nodes = [
        *(setting(lane, lane=lane) for lane in "abcd"),
        post(port, "fan", "post_a"),
        post(port, "fan", "post_b"),
        python("code_c", "return [{'n': item['n'], 't': item['t'], 'more': item['n'] % 7} for item in items]"),
        node("join", "logic.merge", inputs=4),
        python(
            "total",
            "total = 0\nfor item in items:\n    total = total + item.get('serial', 0) + item.get('more', 0)\n"
            "return [{'t': items[0]['t'], 'count': len(items), 'total': total}]",
        ),
        node("end", "logic.noop"),
    ]
    drawing = (
        "start -> a -> post_a -> join; start -> b -> post_b -> join; start -> c -> code_c -> join; "
        "start -> d -> join; join -> total -> end"
    )

    def expected(given: Given, facts: Answers) -> Output:
        total = facts["post_a", 0] + facts["post_b", 0] + given[0]["n"] % 7
        return {"end": [{"t": given[0]["t"], "count": 4, "total": total}]}

    return Shape("fan", 25, drawn("fan", nodes, drawing), one, expected, (("post_a", 0), ("post_b", 0)))


def _loop(port: int) -> Shape:
    nodes = [
        node("loop", "logic.loop"),
        post(port, "loop", "post"),
        setting("note", run="{{ $runIndex }}", was="{{ $('start').item.json.n }}"),
        python(
            "tally",
            "total = 0\nfor item in items:\n    total = total + item['serial'] * (item['run'] + 1)\n"
            "return [{'t': items[0]['t'], 'was': [item['was'] for item in items], 'total': total}]",
        ),
        setting("half", half="{{ $json.total / 2 }}"),
        node("end", "logic.noop"),
    ]
    drawing = (
        "start -> loop; loop:loop -> post -> note -> rest; rest -> loop; loop:done -> tally -> half -> last -> end"
    )
    nodes += [node("rest", "logic.noop"), setting("last", rounds="{{ $json.was.length }}")]

    def given(n: int, tenant: str) -> Given:
        return [{"n": n * 10 + number, "t": tenant} for number in range(ROUNDS)]

    def expected(given: Given, facts: Answers) -> Output:
        total = sum(facts["post", run] * (run + 1) for run in range(ROUNDS))
        was = [item["n"] for item in given]
        return {
            "end": [{"t": given[0]["t"], "was": was, "total": total, "half": js_number(total / 2), "rounds": ROUNDS}]
        }

    runs = tuple(("post", run) for run in range(ROUNDS))
    return Shape("loop", 20, drawn("loop", nodes, drawing), given, expected, runs)


def _caught(port: int) -> Shape:
    nodes = [
        post(port, "caught", "ask", "refuse", on_error="error_output"),
        setting("never", never=True),
        node("told", "data.set", values={"how": "{{ $json.error.code }}"}, remove=["error"]),
        post(port, "caught", "flaky", "flaky", retry=FLAKY_RETRY),
        setting("seen", how="{{ $('told').item.json.how }}"),
        javascript("shout", "return items.map(item => ({...item, how: item.how.toUpperCase()}))"),
        node("end", "logic.noop"),
    ]
    drawing = "start -> ask -> never; ask:error -> told -> flaky -> seen -> shout -> end"

    def expected(given: Given, facts: Answers) -> Output:
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": facts["flaky", 0], "how": "HTTP_422"}
        return {"end": [item]}

    return Shape(
        "caught",
        10,
        drawn("caught", nodes, drawing),
        one,
        expected,
        (("ask", 0), ("flaky", 0)),
        frozenset({"ask"}),
    )


def _forked(port: int) -> Shape:
    even = [{"left": "{{ $json.n % 2 === 0 }}", "operator": "is_true"}]
    nodes = [
        node("even", "logic.if", conditions=even),
        setting("left", side="left"),
        post(port, "forked", "post"),
        setting("right", side="right"),
        javascript("wait", "return items.map(item => ({...item, square: item.n * item.n}))"),
        node("join", "logic.merge"),
        setting("last", last="{{ $json.side ?? 'left' }}"),
        node("end", "logic.noop"),
    ]
    drawing = (
        "start -> post -> even; even:true -> left -> join; even:false -> right -> wait -> join; join -> last -> end"
    )

    def expected(given: Given, facts: Answers) -> Output:
        n = given[0]["n"]
        item: dict[str, Any] = {"n": n, "t": given[0]["t"], "serial": facts["post", 0]}
        if n % 2 == 0:
            return {"end": [{**item, "side": "left", "last": "left"}]}
        return {"end": [{**item, "side": "right", "square": n * n, "last": "right"}]}

    return Shape("forked", 12, drawn("forked", nodes, drawing), one, expected, (("post", 0),))


def _task(port: int) -> Shape:
    far = f"import time\ntime.sleep({TASK_S})\nreturn [{{**item, 'far': item['n'] % 11}} for item in items]"
    document = chain(
        "task",
        setting("ready", ready=True),
        python("far", far, cpu=1),
        setting("back", back="{{ $json.far + 1 }}"),
        post(port, "task", "post"),
        setting("fold", sum="{{ $('back').item.json.back + $json.serial }}"),
        setting("more", sum="{{ $json.sum * 2 }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, facts: Answers) -> Output:
        n, serial = given[0]["n"], facts["post", 0]
        item = {"n": n, "t": given[0]["t"], "serial": serial, "sum": (n % 11 + 1 + serial) * 2}
        return {"end": [item]}

    return Shape("task", 8, document, one, expected, (("post", 0),))
