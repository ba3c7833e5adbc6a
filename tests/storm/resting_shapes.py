"""The workflows of the load that wait: for times, for people, for a request from outside, for children."""

from typing import Any

from tests.chaos.work import chain, node
from tests.storm.drawing import (
    CHILD_ID,
    Answers,
    Decision,
    Given,
    Output,
    Shape,
    Timer,
    drawn,
    one,
    post,
    put,
    python,
)

LONG_MS, SPREAD_MS = 2_500, 1_500
"""Beyond the patience of two seconds, after which an execution that waits leaves its actor."""
SHORT_MS = 300
CHILDREN = 2, 3
NAP_MS = 2_300, 200
ONCE = {"max_attempts": 1}
MS = "{{ $('start').item.json.ms }}"
"""How long the sink takes: what an effect gives does not hold it any more."""


def resting(port: int) -> list[Shape]:
    """Return them, for a sink on this port."""
    return [_waiting(port), _asking(port), _webhook(port), _family(port), _recovering(port)]


def _wait(node_id: str, amount: Any) -> dict[str, Any]:
    return node(node_id, "logic.wait", duration={"amount": amount, "unit": "milliseconds"})


def _waiting(port: int) -> Shape:
    document = chain(
        "waiting",
        post(port, "waiting", "post_a"),
        put("again", ms=MS, first="{{ $json.serial }}"),
        _wait("long", "{{ $('start').item.json.wait_ms }}"),
        post(port, "waiting", "post_b"),
        put("mark", ms=MS, first="{{ $('again').item.json.first }}", second="{{ $json.serial }}"),
        _wait("short", SHORT_MS),
        post(port, "waiting", "post_c"),
        put("sum", sum="{{ $('mark').item.json.first + $('mark').item.json.second + $json.serial }}"),
        node("end", "logic.noop"),
    )

    def given(n: int, tenant: str) -> Given:
        return [{"n": n, "t": tenant, "wait_ms": LONG_MS + n * 7919 % SPREAD_MS}]

    def expected(given: Given, answers: Answers) -> Output:
        serials = [answers[name, 0] for name in ("post_a", "post_b", "post_c")]
        return {"end": [{"n": given[0]["n"], "t": given[0]["t"], "serial": serials[-1], "sum": sum(serials)}]}

    timers = (
        Timer("long", "post_a", "post_b", lambda given: int(given[0]["wait_ms"])),
        Timer("short", "post_b", "post_c", lambda given: SHORT_MS),
    )
    runs = (("post_a", 0), ("post_b", 0), ("post_c", 0))
    return Shape("waiting", 9, document, given, expected, runs, timers=timers)


def _asking(port: int) -> Shape:
    nodes = [
        post(port, "asking", "post"),
        node("ask", "hitl.request", title="May {{ $json.n }} go on?"),
        put("yes", side="yes"),
        put("no", side="no"),
        node("join", "logic.merge"),
        put("told", how="{{ $json.hitl.action }}", who="{{ $json.hitl.comment }}", ms=MS),
        post(port, "asking", "act"),
        put("last", **{name: f"{{{{ $('told').item.json.{name} }}}}" for name in ("how", "who", "side")}),
        node("end", "logic.noop"),
    ]
    drawing = "start -> post -> ask; ask:approved -> yes -> join; ask:rejected -> no -> join; join -> told -> act -> last -> end"

    def expected(given: Given, answers: Answers) -> Output:
        decided: Decision = answers["ask", 0]
        side = {"approve": "yes", "reject": "no"}[decided.action]
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": answers["act", 0]}
        return {"end": [{**item, "how": decided.action, "who": decided.who, "side": side}]}

    runs = (("post", 0), ("act", 0))
    return Shape("asking", 10, drawn("asking", nodes, drawing), one, expected, runs, asked=(("ask", 0),))


def _webhook(port: int) -> Shape:
    document = chain(
        "webhook",
        post(port, "webhook", "post"),
        node("hook", "logic.wait", mode="webhook"),
        put(
            "told", who="{{ $json.body.who }}", n="{{ $('post').item.json.n }}", t="{{ $('post').item.json.t }}", ms=MS
        ),
        post(port, "webhook", "act"),
        put("last", who="{{ $('told').item.json.who }}"),
        node("rest", "logic.noop"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, answers: Answers) -> Output:
        decided: Decision = answers["hook", 0]
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": answers["act", 0]}
        return {"end": [{**item, "who": decided.who}]}

    return Shape("webhook", 7, document, one, expected, (("post", 0), ("act", 0)), asked=(("hook", 0),))


def _recovering(port: int) -> Shape:
    """Return one whose `bad` fails for good unless its request is sent again: by whoever decides so, or by the next owner."""
    document = chain(
        "recovering",
        post(port, "recovering", "post"),
        put("again", ms=MS, first="{{ $json.serial }}"),
        post(port, "recovering", "bad", "flaky", retry=ONCE, on_error="ask"),
        put("told", how="{{ $json.who ?? ($json.first ? 'skipped' : 'done') }}", was="{{ $json.serial ?? 0 }}", ms=1),
        post(port, "recovering", "act"),
        put("last", how="{{ $('told').item.json.how }}", was="{{ $('told').item.json.was }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, answers: Answers) -> Output:
        bad = answers["bad", 0]
        how, was = "done", bad
        if isinstance(bad, Decision):
            how, was = ("skipped", answers["post", 0]) if bad.action == "skip" else (bad.who, 0)
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": answers["act", 0]}
        return {"end": [{**item, "how": how, "was": was}]}

    runs = (("post", 0), ("bad", 0), ("act", 0))
    return Shape("recovering", 7, document, one, expected, runs, recovered=frozenset({"bad"}))


def _child(port: int) -> Shape:
    long_ms, short_ms = NAP_MS
    document = chain(
        "child",
        put("twice", two="{{ $json.n * 2 }}"),
        post(port, "child", "post"),
        put("mark", two="{{ $('twice').item.json.two }}"),
        _wait("nap", f"{{{{ $json.n % 2 ? {long_ms} : {short_ms} }}}}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, answers: Answers) -> Output:
        n = given[0]["n"]
        return {"end": [{"n": n, "t": given[0]["t"], "serial": answers["post", 0], "two": n * 2}]}

    return Shape("child", 0, document, one, expected, (("post", 0),))


def _family(port: int) -> Shape:
    document = chain(
        "family",
        node("ready", "logic.noop"),
        node("call", "action.execute_workflow", workflow_id=CHILD_ID, mode="each_item"),
        put("mark", mine="{{ $json.serial + $json.two }}"),
        python(
            "tally",
            "total = 0\nplace = 1\nfor item in items:\n    total = total + item['mine'] * place\n    place = place + 1\n"
            "return [{'n': items[0]['n'], 't': items[0]['t'], 'ms': 1, 'count': len(items), 'total': total}]",
        ),
        post(port, "family", "post"),
        put("last", count="{{ $('tally').item.json.count }}", total="{{ $('tally').item.json.total }}"),
        node("end", "logic.noop"),
    )

    def given(n: int, tenant: str) -> Given:
        few, many = CHILDREN
        return [{"n": n * 10 + place, "t": tenant} for place in range(many if n % 2 else few)]

    def expected(given: Given, answers: Answers) -> Output:
        mine = zip(answers["call", 0], given, strict=True)
        total = sum((serial + item["n"] * 2) * place for place, (serial, item) in enumerate(mine, 1))
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": answers["post", 0]}
        return {"end": [{**item, "count": len(given), "total": total}]}

    return Shape("family", 9, document, given, expected, (("post", 0),), child=_child(port), calls="call")
