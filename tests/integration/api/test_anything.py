"""Whatever is sent to whichever route: the answer is a success or a problem that says what was wrong, never a 5xx."""

import json
import random
from typing import Any

from tests.integration.api.conftest import Api
from tests.integration.api.test_routes import DOCUMENT, ROUTES, made_things

REQUESTS = 400
VALUES: list[Any] = [
    None, True, 0, -1, 1.5, "", "x", "\ud800", "é", "a" * 300, [], {}, [[]], {"a": 1}, 10**18, [None],
    "0190b5a8-1111-7000-8000-000000000001", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    [{"id": "a", "type": "data.set"}], [{"source": "a", "target": "a"}],
]  # fmt: skip
FIELDS = [
    "name",
    "nodes",
    "connections",
    "settings",
    "viewport",
    "input_schema",
    "definition",
    "description",
    "tags",
    "change_message",
    "ids",
    "filter",
    "before",
    "status",
    "workflow_id",
    "format",
    "format_version",
    "removed",
    "input",
    "id",
    "type",
    "config",
    "from_node",
    "until_node",
    "version",
    "items",
    "data",
]
PARAMETERS = [
    "status",
    "limit",
    "cursor",
    "tag",
    "q",
    "sort",
    "window",
    "created_after",
    "created_before",
    "handle",
    "run_index",
    "against",
    "wait",
    "workflow_id",
    "category",
]
TEXTS = [
    "",
    "x",
    "-1",
    "0",
    "1",
    "99999999999999999999",
    "%00",
    "%FF",
    "%F0%9F%98%80",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:00",
    "name",
    "all",
    "1h",
    "0001-01-01T00:00:00%2B23:00",
    "bnVsbA",
    "WyJuYW1lIiwiYSIsMV0",
    "W1tdXQ",
]
VERSIONS = (b"1", b'"1"', b"x", "²".encode(), b"*", b'W/"1"', b"99999999999")
WHOLE = {"definition": {**DOCUMENT, "viewport": {"z": 1}, "input_schema": {"type": "object"}}, "tags": ["a"]}


def value(chance: random.Random, depth: int = 0) -> Any:
    if depth > 3 or chance.random() < 0.5:
        return chance.choice(VALUES)
    if chance.random() < 0.5:
        return [value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return {chance.choice(FIELDS): value(chance, depth + 1) for _ in range(chance.randint(0, 4))}


def mutated(chance: random.Random, document: Any) -> Any:
    """Return a copy with something else at some place."""
    if not isinstance(document, dict | list) or not document or chance.random() < 0.2:
        return value(chance)
    if isinstance(document, list):
        place = chance.randrange(len(document))
        return [mutated(chance, one) if index == place else one for index, one in enumerate(document)]
    field = chance.choice([*document, *FIELDS])
    return {**document, field: mutated(chance, document.get(field))}


async def test_no_request_is_answered_with_a_fault_of_ours(api: Api):
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    names = await made_things(api)
    routes = [(method, route) for method, route, _ in ROUTES if method != "DELETE" and "events" not in route]
    for _ in range(REQUESTS):
        method, route = chance.choice(routes)
        query = "&".join(f"{chance.choice(PARAMETERS)}={chance.choice(TEXTS)}" for _ in range(chance.randint(0, 3)))
        body = {}
        if method != "GET":
            made = chance.choice(
                [value(chance), mutated(chance, WHOLE), [mutated(chance, WHOLE)], {"filter": value(chance)}]
            )
            body = {"content": json.dumps(made).encode()}
        headers = {"If-Match": chance.choice(VERSIONS)} if chance.random() < 0.2 else {}

        response = await api.call(method, f"{route.format(**names)}?{query}", headers=headers, **body)

        told = f"seed {seed}: {method} {route}?{query} {headers} {body}: {response.text[:300]}"
        assert response.status_code < 500, told
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json", told
            assert response.json()["code"], told
