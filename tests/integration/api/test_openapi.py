"""What the API says of itself: every operation, parameter, body and field has words, and every error is a problem."""

from collections.abc import Iterator
from typing import Any

from tests.integration.api.conftest import Api


async def page(api: Api) -> dict[str, Any]:
    return (await api.client.get("/openapi.json")).json()


def operations(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            if name == "$ref":
                yield one
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


async def test_every_operation_has_an_id_and_words(api: Api):
    found = dict(operations(await page(api)))
    ids = [operation["operationId"] for operation in found.values()]

    assert len(ids) == len(set(ids))
    assert all(name == name.lower() and "__" not in name for name in ids)
    assert [place for place, operation in found.items() if not operation.get("description")] == []


async def test_every_parameter_body_and_answer_has_words(api: Api):
    for place, operation in operations(await page(api)):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{place}: {parameter['name']}"
        if "requestBody" in operation:
            assert operation["requestBody"].get("description"), place
        for status, answer in operation["responses"].items():
            assert answer.get("description"), f"{place}: {status}"


async def test_every_field_of_every_schema_has_words(api: Api):
    schemas = (await page(api))["components"]["schemas"]
    silent = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, said in schema.get("properties", {}).items()
        if not said.get("description")
    ]

    assert silent == []
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []


async def test_every_error_is_a_problem(api: Api):
    for place, operation in operations(await page(api)):
        errors = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert errors, place
        for status, answer in errors.items():
            if place.endswith("/health/ready") and status == "503":
                continue
            assert list(answer["content"]) == ["application/problem+json"], f"{place}: {status}"
        if "{workspace_id}" in place:
            assert {"401", "403", "404", "422", "503"} <= set(errors), place


async def test_every_reference_leads_somewhere(api: Api):
    found = await page(api)
    known = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}

    assert set(references(found)) <= known


async def test_node_types_are_shown_one_by_one_and_filtered(api: Api):
    one = (await api.call("GET", "/api/v1/node-types/logic.if", by="viewer")).json()
    absent = await api.call("GET", "/api/v1/node-types/no.such")
    nobody = await api.call("GET", "/api/v1/node-types/logic.if", by="")
    every = (await api.call("GET", "/api/v1/node-types")).json()["items"]
    of_category = (await api.call("GET", f"/api/v1/node-types?category={one['category']}")).json()["items"]
    searched = (await api.call("GET", "/api/v1/node-types?q=LOGIC.")).json()["items"]

    assert (one["outputs"], one["inputs"]) == (["true", "false"], ["main"])
    assert one["config_schema"]["type"] == "object"
    assert {"title", "config", "items", "outputs"} == set(next(t for t in every if t["examples"])["examples"][0])
    assert (absent.status_code, absent.json()["code"], nobody.status_code) == (404, "not_found", 401)
    assert absent.json()["node_type"] == "no.such"
    assert one in every
    assert {t["category"] for t in of_category} == {one["category"]}
    assert 0 < len(searched) < len(every)
