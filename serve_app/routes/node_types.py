"""The catalogue of node types."""

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from serve_app import views
from serve_app.auth import Caller
from serve_app.routes.asking import Asked, answer

router = APIRouter(tags=["node types"])


class NodeTypesOut(BaseModel):
    """All node types, by name."""

    items: list[views.NodeTypeOut]
    next_cursor: str | None


@router.get("/node-types", operation_id="list_node_types", response_model=NodeTypesOut)
async def list_node_types(_caller: Caller, services: Asked) -> Response:
    """List the node types with the JSON Schema of their config."""
    return answer({"items": [views.node_type(t) for t in services.catalog], "next_cursor": None})
