"""Collections of documents."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from actors.ids import new_id
from actors.knowing import CHUNK_TOKENS, OVERLAP_TOKENS
from serve_app import document_views as views
from serve_app.auth import Admin, Editor, Viewer
from serve_app.bodies import parse_object, read_body
from serve_app.once import new_ids
from serve_app.openapi import model_body, problems
from serve_app.routes.asking import Asked, answer
from workflow.errors import NodeError, Unprocessable
from workflow.labels import COLLECTION_NAME_CHARS_MAX, collection_name

router = APIRouter(prefix="/workspaces/{workspace_id}/collections", tags=["documents"])

CollectionId = Annotated[UUID, Path(description="the collection's id")]


class CollectionBody(BaseModel):
    """A collection to make."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(collection_name)] = Field(
        min_length=1, max_length=COLLECTION_NAME_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f/]+$"
    )
    """its name, which no other one in the workspace has: printable, not all blank, and not in the form of an id"""
    description: str = Field(default="", max_length=2_000)
    """what is said of it"""
    embedding_model: str = Field(default="", max_length=100)
    """the model that embeds its passages; empty: the instance's default. It stays"""
    chunk_tokens: int = Field(default=CHUNK_TOKENS, ge=16, le=8_192)
    """the longest passage, in tokens"""
    overlap_tokens: int = Field(default=OVERLAP_TOKENS, ge=0, le=4_096)
    """about how many tokens of a passage the next one begins with"""


@router.post(
    "",
    operation_id="create_collection",
    status_code=HTTPStatus.CREATED,
    response_model=views.CollectionOut,
    responses=problems(400, 409, 413),
    openapi_extra=model_body(CollectionBody),
)
async def create_collection(request: Request, caller: Editor, services: Asked) -> Response:
    """Make a collection."""
    asked = parse_object(
        await read_body(request, services.config.limits.body_bytes_max), frozenset(CollectionBody.model_fields)
    )
    try:
        body = CollectionBody.model_validate(asked)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        raise Unprocessable(f"{'.'.join(map(str, found['loc']))}: {found['msg']}", "invalid_fields") from error
    if body.overlap_tokens >= body.chunk_tokens:
        raise Unprocessable("`overlap_tokens` must be smaller than `chunk_tokens`", "overlap_too_large")
    try:
        model = services.config.models.embedding_named(body.embedding_model).source.name
    except NodeError as error:
        raise Unprocessable(error.message, error.code, {"embedding_model": body.embedding_model}) from error
    ids = new_ids(request) or new_id
    made = await services.knowledge.collections.create(
        ids(),
        caller.workspace_id,
        body.name,
        description=body.description,
        embedding_model=model,
        chunk_tokens=body.chunk_tokens,
        overlap_tokens=body.overlap_tokens,
    )
    return answer(views.collection_view(made), HTTPStatus.CREATED)


@router.get("", operation_id="list_collections", response_model=views.CollectionsOut)
async def list_collections(caller: Viewer, services: Asked) -> Response:
    """List the workspace's collections by name."""
    found = await services.knowledge.collections.all(caller.workspace_id)
    return answer({"items": [views.collection_view(one) for one in found], "next_cursor": None})


@router.get("/{collection_id}", operation_id="get_collection", response_model=views.CollectionOut)
async def get_collection(collection_id: CollectionId, caller: Viewer, services: Asked) -> Response:
    """Show a collection."""
    return answer(views.collection_view(await services.knowledge.collections.get(caller.workspace_id, collection_id)))


@router.delete(
    "/{collection_id}",
    operation_id="delete_collection",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=problems(409),
)
async def delete_collection(collection_id: CollectionId, caller: Admin, services: Asked) -> Response:
    """Delete a collection that has no documents."""
    await services.knowledge.collections.delete(caller.workspace_id, collection_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
