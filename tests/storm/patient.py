"""The workflows of the load that wait: for times, for people, for whoever has a link, for one another; and what each must give."""

from typing import Any

from tests.chaos.work import chain, node
from tests.storm.once import ONCE
from tests.storm.shape import Facts, Given, Output, Shape, drawn, one, post, python, setting

WAIT_MS = 3_000
CHILD_WAIT_MS = 2_200
"""Both are longer than an actor holds on to what waits."""
CHILD = "child"


def shapes(port: int) -> list[Shape]:
    """Return the shapes, for a sink on this port."""
    return [_waiting(port), _asking(port), _webhook(port), _family(port), _child(port), _recovering(port), _once(port)]


def _slowly(node_id: str, **values: Any) -> dict[str, Any]:
    """Set fields, and again how long the sink takes: what it answers does not say so."""
    return setting(node_id, ms="{{ $('start').item.json.ms }}", **values)


def _wait(node_id: str, ms: int) -> dict[str, Any]:
    return node(node_id, "logic.wait", duration={"amount": ms / 1000, "unit": "seconds"})


def _waiting(port: int) -> Shape:
    document = chain(
        "waiting",
        post(port, "waiting", "before"),
        _wait("wait", WAIT_MS),
        _slowly("mark", first="{{ $json.serial }}"),
        post(port, "waiting", "after"),
        setting("told", first="{{ $('mark').item.json.first }}"),
        setting("gap", gap="{{ $json.serial - $json.first }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, facts: Facts) -> Output:
        first, last = facts["before", 0], facts["after", 0]
        return {"end": [{"n": given[0]["n"], "t": given[0]["t"], "serial": last, "first": first, "gap": last - first}]}

    runs = (("before", 0), ("after", 0))
    return Shape("waiting", 8, document, one, expected, runs, waits_ms={"wait": WAIT_MS})


def _asking(port: int) -> Shape:
    how = {"decision": "{{ $json.hitl.action }}", "who": "{{ $json.hitl.comment }}"}
    nodes = [
        post(port, "asking", "before"),
        node("ask", "hitl.request", title="May {{ $json.n }}?"),
        node("yes", "data.set", values={**how, "ms": "{{ $('start').item.json.ms }}"}, remove=["hitl"]),
        post(port, "asking", "act"),
        setting("told", **{name: f"{{{{ $('yes').item.json.{name} }}}}" for name in how}),
        node("no", "data.set", values=how, remove=["hitl"]),
        node("end", "logic.noop"),
    ]
    drawing = "start -> before -> ask; ask:approved -> yes -> act -> told -> end; ask:rejected -> no -> end"

    def expected(given: Given, facts: Facts) -> Output:
        decided = facts.decisions["ask"]
        allowed, acted = decided["action"] == "approve", ("act", 0) in facts.answers
        if acted and not allowed:
            return {"end": "what was rejected was done"}
        serial = facts["act", 0] if allowed else facts["before", 0]
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": serial}
        return {"end": [{**item, "decision": decided["action"], "who": decided["comment"]}]}

    return Shape(
        "asking",
        8,
        drawn("asking", nodes, drawing),
        one,
        expected,
        (("before", 0), ("act", 0)),
        perhaps=frozenset({"act"}),
        asks=frozenset({"ask"}),
    )


def _webhook(port: int) -> Shape:
    document = chain(
        "webhook",
        post(port, "webhook", "before"),
        node("called", "logic.wait", mode="webhook"),
        _slowly("got", n="{{ $('start').item.json.n }}", t="{{ $('start').item.json.t }}", who="{{ $json.body.who }}"),
        post(port, "webhook", "act"),
        setting("told", who="{{ $('got').item.json.who }}"),
        setting("first", first="{{ $('before').item.json.serial }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, facts: Facts) -> Output:
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": facts["act", 0]}
        return {"end": [{**item, "who": facts.decisions["called"]["body"]["who"], "first": facts["before", 0]}]}

    return Shape("webhook", 5, document, one, expected, (("before", 0), ("act", 0)), asks=frozenset({"called"}))


def _family(port: int) -> Shape:
    document = chain(
        "family",
        setting("ready", ready=True),
        node("call", "action.execute_workflow", workflow_id=CHILD, mode="each_item"),
        python(
            "gather",
            "return [{'n': items[0]['n'], 't': items[0]['t'], 'ms': 100, 'twice': [item['twice'] for item in items]}]",
        ),
        post(port, "family", "post"),
        setting("told", twice="{{ $('gather').item.json.twice }}"),
        setting("count", count="{{ $json.twice.length }}"),
        node("end", "logic.noop"),
    )

    def given(n: int, tenant: str) -> Given:
        return [{"n": n * 10 + place, "t": tenant} for place in range(2 + n % 2)]

    def expected(given: Given, facts: Facts) -> Output:
        twice = [child["post", 0] * 2 for child in facts.children]
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": facts["post", 0]}
        return {"end": [{**item, "twice": twice, "count": len(given)}]}

    return Shape("family", 6, document, given, expected, (("post", 0),), child=CHILD)


def _child(port: int) -> Shape:
    document = chain(
        CHILD,
        post(port, CHILD, "post"),
        _wait("wait", CHILD_WAIT_MS),
        setting("double", twice="{{ $json.serial * 2 }}"),
        node("end", "logic.noop"),
    )

    def expected(given: Given, facts: Facts) -> Output:
        serial = facts["post", 0]
        return {"end": [{"n": given[0]["n"], "t": given[0]["t"], "serial": serial, "twice": serial * 2}]}

    return Shape(CHILD, 0, document, one, expected, (("post", 0),), waits_ms={"wait": CHILD_WAIT_MS})


def _recovering(port: int) -> Shape:
    how = "{{ $json.serial ? 'answered' : $json.instead ? 'replaced' : 'skipped' }}"
    given_again = {name: f"{{{{ $('ready').first().json.{name} }}}}" for name in "nt"}
    document = chain(
        "recovering",
        setting("ready", ready=True),
        post(port, "recovering", "bad", "{{ $json.mood }}", on_error="ask"),
        setting(
            "seen", how=how, who="{{ $json.instead ?? '' }}", first="{{ $json.serial ?? 0 }}", ms=100, **given_again
        ),
        post(port, "recovering", "act"),
        setting("told", how="{{ $('seen').item.json.how }}", who="{{ $('seen').item.json.who }}"),
        setting("first", first="{{ $('seen').item.json.first }}"),
        node("end", "logic.noop"),
    )

    def given(n: int, tenant: str) -> Given:
        return [{"n": n, "t": tenant, "mood": "refuse" if n % 3 == 0 else "mend"}]

    def expected(given: Given, facts: Facts) -> Output:
        decided = facts.decisions.get("bad", {"action": "retry"})
        item: dict[str, Any] = {"n": given[0]["n"], "t": given[0]["t"], "serial": facts["act", 0]}
        if decided["action"] == "retry":
            return {"end": [{**item, "how": "answered", "who": "", "first": facts["bad", 0]}]}
        if decided["action"] == "skip":
            return {"end": [{**item, "how": "skipped", "who": "", "first": 0}]}
        return {"end": [{**item, "how": "replaced", "who": decided["output"][0]["instead"], "first": 0}]}

    return Shape(
        "recovering",
        5,
        document,
        given,
        expected,
        (("bad", 0), ("act", 0)),
        perhaps=frozenset({"bad"}),
        asks=frozenset({"bad"}),
    )


def _once(port: int) -> Shape:
    nodes = [
        setting("ready", ready=True),
        post(port, "once", "once", kind=ONCE, on_error="error_output"),
        setting("got", how="done", first="{{ $json.serial }}", ms=100),
        node("lost", "data.set", values={"how": "{{ $json.error.code }}", "first": 0}, remove=["error", "ready"]),
        setting("both", both=True),
        post(port, "once", "act"),
        setting("told", how="{{ $('both').item.json.how }}", first="{{ $('both').item.json.first }}"),
        node("end", "logic.noop"),
    ]
    drawing = "start -> ready -> once -> got -> both; once:error -> lost -> both; both -> act -> told -> end"

    def expected(given: Given, facts: Facts) -> Output:
        item = {"n": given[0]["n"], "t": given[0]["t"], "serial": facts["act", 0]}
        first = facts.answers.get(("once", 0))
        return {"end": [{**item, "how": "unknown_outcome" if first is None else "done", "first": first or 0}]}

    return Shape(
        "once",
        8,
        drawn("once", nodes, drawing),
        one,
        expected,
        (("once", 0), ("act", 0)),
        perhaps=frozenset({"once"}),
        once=frozenset({"once"}),
    )
