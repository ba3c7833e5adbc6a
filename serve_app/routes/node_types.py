"""The catalogue of node types."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from serve_app import models, views
from serve_app.auth import Caller
from serve_app.openapi import problems
from serve_app.routes.asking import Asked, answer
from workflow.errors import NotFound
from workflow.spec import NodeSpec

router = APIRouter(tags=["node types"])

SEARCH_CHARS_MAX = 200


@router.get("/node-types", operation_id="list_node_types", response_model=models.NodeTypesOut)
async def list_node_types(
    _caller: Caller,
    services: Asked,
    category: Annotated[str, Query(description="only those of this category")] = "",
    q: Annotated[
        str, Query(max_length=SEARCH_CHARS_MAX, description="only those with this text in type, title or description")
    ] = "",
) -> Response:
    """List the node types with the JSON Schema of their config."""
    found = [t for t in services.catalog if (not category or t.spec.category == category) and _says(t.spec, q)]
    return answer({"items": [views.node_type(t) for t in found], "next_cursor": None})


@router.get(
    "/node-types/{type}", operation_id="get_node_type", response_model=models.NodeTypeOut, responses=problems(404)
)
async def get_node_type(
    name: Annotated[str, Path(alias="type", description="the type's name in documents")],
    _caller: Caller,
    services: Asked,
) -> Response:
    """Show a node type with its handles and the JSON Schema of its config."""
    found = services.catalog.get(name)
    if found is None:
        raise NotFound("there is no such node type", fields={"node_type": name})
    return answer(views.node_type(found))


def _says(spec: NodeSpec, text: str) -> bool:
    wanted = text.casefold()
    return any(wanted in said.casefold() for said in (spec.type, spec.title, spec.description))
