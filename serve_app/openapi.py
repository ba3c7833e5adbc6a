"""The OpenAPI page beyond what FastAPI makes of signatures: problems, bodies that are read by hand, the workflow document."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict

from serve_app.once import HEADER, KEY_CHARS_MAX, REPLAYED, WRITES
from serve_app.problems import MEDIA_TYPE
from workflow.document import Document
from workflow.links import PATH as LINKS

REF = "#/components/schemas/{model}"
DOCUMENT_REF = {"$ref": REF.format(model="Document")}
PROBLEM_REF = {"$ref": REF.format(model="Problem")}
MEANINGS = {
    400: "the body is not JSON that can be stored",
    401: "no key, or not a valid one",
    403: "the caller's role, or the link that they came by, does not allow it",
    404: "there is no such thing in this workspace",
    409: "it does not apply in the present state; or a request with the same Idempotency-Key is under way",
    413: "the body is larger than the limit",
    422: "the request is well-formed, but not acceptable",
    429: "a limit is reached just now (documents being compiled, executions queued); `Retry-After` says when to try again",
    500: "something broke on our side",
    503: "a part of the system is not there just now; try again",
}
OF_EVERY_ROUTE = (401, 422, 500, 503)
OF_WORKSPACES = (403, 404)
OF_KEYED_WRITES = (409, 413)
API = "/api/v1/"
WORKSPACE = "{workspace_id}"


KEY: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX, "pattern": "^[!-~]+$"},
    "description": (
        "a text of the caller's own: for 24 hours the same request with the same key is performed once and answered as it was the "
        "first time. Another request with it is refused (422 `idempotency_key_reused`), and one that comes while the first is under "
        "way, too (409 `idempotency_key_in_use`)"
    ),
}
REPLAYED_HEADER: dict[str, Any] = {
    REPLAYED: {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "there if this is the answer to an earlier request with the same Idempotency-Key",
    }
}


class Problem(BaseModel):
    """An error (RFC 9457). Further members say more, by code: `findings`, `errors`, `current_version`, `state`."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    type: str
    """`urn:rayloom:problem:` and the code"""
    title: str
    """the name of the HTTP status"""
    status: int
    """the HTTP status"""
    detail: str
    """one sentence for people"""
    code: str
    """what it is, for programs; stable"""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problem responses of a route, beyond those that every route has."""
    return {status: _problem(status) for status in statuses}


def document_body(*, change: bool = False) -> dict[str, Any]:
    """Return the `requestBody` of a route that takes a workflow document, bare or with what is said about it."""
    wrapped: dict[str, Any] = {
        "definition": DOCUMENT_REF,
        "description": {"type": "string", "description": "what its authors say of the workflow"},
        "tags": {"type": "array", "items": {"type": "string"}, "description": "its tags"},
    }
    if change:
        wrapped["change_message"] = {"type": "string", "description": "what is said of the change"}
    schema = {"type": "object", "properties": wrapped, "required": ["definition"], "additionalProperties": False}
    return _body({"anyOf": [DOCUMENT_REF, schema]}, "a workflow document, or an object with it as `definition`")


def import_body() -> dict[str, Any]:
    """Return the `requestBody` of the import."""
    one = {"anyOf": [{"$ref": REF.format(model="ExportOut")}, DOCUMENT_REF]}
    return _body(
        {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 100}]},
        "what the export gives, or a workflow document; or a list of them",
    )


def model_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the `requestBody` of a route that takes what a model describes; `describe` must be told of the model."""
    return _body({"$ref": REF.format(model=model.__name__)}, (model.__doc__ or "").strip())


def object_body(properties: dict[str, Any], required: list[str], description: str = "") -> dict[str, Any]:
    """Return the `requestBody` of a route that takes an object of these properties."""
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    words = "an object" if required else "an object; it may be left out"
    return _body(schema, description or words, required=bool(required))


def describe(app: FastAPI, *bodies: type[BaseModel]) -> None:
    """Let the application describe itself with all that this module adds, and with the models of bodies that are read by hand."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _page(app, (Problem, Document, *bodies))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _page(app: FastAPI, models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = page["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in models:
        schema = model.model_json_schema(ref_template=REF)
        for name, part in {**schema.pop("$defs", {}), model.__name__: schema}.items():
            schemas.setdefault(name, part)
    for path, operations in page["paths"].items():
        statuses = (*OF_EVERY_ROUTE, *(OF_WORKSPACES if WORKSPACE in path else ())) if path.startswith(API) else (500,)
        for method, operation in operations.items():
            responses = operation["responses"]
            responses.pop("422", None)  # FastAPI's own, which is not what is answered
            keyed = (WORKSPACE in path or path.startswith(LINKS)) and method.upper() in WRITES
            if keyed:
                _take_key(operation)
            for status in (*statuses, *(OF_KEYED_WRITES if keyed else ())):
                responses.setdefault(str(status), _problem(status))
            operation["responses"] = dict(sorted(responses.items()))
    return page


def _take_key(operation: dict[str, Any]) -> None:
    parameters = operation.setdefault("parameters", [])
    if not any(parameter["name"] == HEADER for parameter in parameters):  # else it says more of it itself
        parameters.append(KEY)
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response.setdefault("headers", {}).update(REPLAYED_HEADER)


def _problem(status: int) -> dict[str, Any]:
    words = MEANINGS.get(status, HTTPStatus(status).phrase)
    return {"description": words, "content": {MEDIA_TYPE: {"schema": PROBLEM_REF}}}


def _body(schema: dict[str, Any], description: str, *, required: bool = True) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": required, "description": description, "content": content}}
