"""Documents: upload them, look at them, have them indexed again, take them away."""

from collections.abc import Awaitable
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from actors.ids import new_id
from serve_app import document_views as views
from serve_app import internal
from serve_app.auth import Editor, Viewer
from serve_app.bodies import parse_object, read_body
from serve_app.once import new_ids
from serve_app.openapi import object_body, problems
from serve_app.routes.asking import Asked, Cursor, Limit, answer, before, plain_texts
from serve_app.services import Services
from serve_app.uploads import read_upload
from store.documents import NewDocument
from workflow.errors import RayloomError, StoreUnavailable
from workflow.knowledge import Document, DocumentStatus, FileType
from workflow.labels import document_name, metadata_of, tags_of

router = APIRouter(prefix="/workspaces/{workspace_id}/documents", tags=["documents"])

DocumentId = Annotated[UUID, Path(description="the document's id")]
MIME_TYPES = {
    FileType.PDF: "application/pdf",
    FileType.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
TAGS_SCHEMA = {"type": "array", "items": {"type": "string"}, "description": "its tags"}
METADATA_SCHEMA = {"type": "object", "description": "what is said of it: searches can be limited by it"}
NAME_SCHEMA = {"type": "string", "description": "its name"}
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "a form with the file; what it is, is told from its content",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "PDF, DOCX, HTML, Markdown, text, CSV or JSON, up to 50 MiB",
                        },
                        "name": {**NAME_SCHEMA, "description": "its name; without one, the file's"},
                        "collection": {
                            "type": "string",
                            "description": "a collection's name or id; without one, `default`",
                        },
                        "tags": {
                            "type": "string",
                            "description": "its tags: a JSON list, or with commas between; this part may be there several times",
                        },
                        "metadata": {"type": "string", "description": "a JSON object: searches can be limited by it"},
                    },
                }
            }
        },
    }
}


@router.post(
    "",
    operation_id="upload_document",
    status_code=HTTPStatus.CREATED,
    response_model=views.DocumentOut,
    responses=problems(400, 413, 429),
    openapi_extra=FORM,
)
async def upload_document(request: Request, caller: Editor, services: Asked) -> Response:
    """Keep a document and have it indexed: its execution tells how far it is."""
    upload = await read_upload(request, services.config.limits.upload_bytes_max)
    await services.acceptor.require_room(caller.workspace_id)
    collection = await services.knowledge.collection(caller.workspace_id, upload.collection)
    ids = new_ids(request) or new_id
    identity, execution_id = ids(), ids()
    new = NewDocument(
        id=identity,
        workspace_id=caller.workspace_id,
        collection_id=collection.id,
        name=upload.name,
        file_type=upload.file_type,
        content=upload.content,
        user_id=caller.user_id,
        tags=upload.tags,
        metadata=upload.metadata,
        execution_id=execution_id,
    )
    documents = services.knowledge.documents
    await documents.create(new)
    made = await documents.get(caller.workspace_id, identity)
    try:
        await _execute(services, made, caller.user_id, execution_id)
    except RayloomError:
        await _undo(documents.discard(caller.workspace_id, identity, execution_id))
        raise
    return answer(views.document_view(made), HTTPStatus.CREATED)


@router.get("", operation_id="list_documents", response_model=views.DocumentsOut)
async def list_documents(
    caller: Viewer,
    services: Asked,
    collection: Annotated[str, Query(description="only those of this collection, by name or id")] = "",
    status: Annotated[list[DocumentStatus] | None, Query(description="only those that are so far")] = None,
    tag: Annotated[list[str] | None, Query(description="only those with all of these tags")] = None,
    q: Annotated[str, Query(max_length=200, description="only those with this text in the name, in any case")] = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """List the workspace's documents, newest first."""
    plain_texts(q, collection, *(tag or ()))
    within = await services.knowledge.collections.named(caller.workspace_id, collection) if collection else None
    page = await services.knowledge.documents.page(
        caller.workspace_id,
        collection_id=None if within is None else within.id,
        statuses=status or (),
        tags=tag or (),
        text=q,
        before=before(cursor),
        limit=limit,
    )
    next_cursor = None if page.next_before is None else str(page.next_before)
    return answer({"items": [views.document_view(one) for one in page.items], "next_cursor": next_cursor})


@router.get("/{document_id}", operation_id="get_document", response_model=views.DocumentOut)
async def get_document(document_id: DocumentId, caller: Viewer, services: Asked) -> Response:
    """Show a document."""
    return answer(views.document_view(await services.knowledge.documents.get(caller.workspace_id, document_id)))


@router.get(
    "/{document_id}/file",
    operation_id="download_document",
    response_class=Response,
    responses={200: {"description": "the file as it was uploaded", "content": {"application/octet-stream": {}}}},
)
async def download_document(document_id: DocumentId, caller: Viewer, services: Asked) -> Response:
    """Give the file back as it was uploaded."""
    file = await services.knowledge.documents.file(caller.workspace_id, document_id)
    # Never as a type that a browser would show: whatever is in it would run as ours.
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }
    return Response(
        file.content, media_type=MIME_TYPES.get(file.file_type, "application/octet-stream"), headers=headers
    )


@router.patch(
    "/{document_id}",
    operation_id="update_document",
    response_model=views.DocumentOut,
    responses=problems(400, 413),
    openapi_extra=object_body({"name": NAME_SCHEMA, "tags": TAGS_SCHEMA, "metadata": METADATA_SCHEMA}, []),
)
async def update_document(document_id: DocumentId, request: Request, caller: Editor, services: Asked) -> Response:
    """Change what is said of a document; what is left out stays."""
    known = frozenset({"name", "tags", "metadata"})
    asked = parse_object(await read_body(request, services.config.limits.body_bytes_max), known)
    found = await services.knowledge.documents.update(
        caller.workspace_id,
        document_id,
        name=document_name(asked["name"]) if "name" in asked else None,
        tags=tags_of(asked["tags"]) if "tags" in asked else None,
        metadata=metadata_of(asked["metadata"]) if "metadata" in asked else None,
    )
    return answer(views.document_view(found))


@router.post(
    "/{document_id}/reindex",
    operation_id="reindex_document",
    status_code=HTTPStatus.ACCEPTED,
    response_model=views.DocumentOut,
    responses=problems(409, 429),
)
async def reindex_document(document_id: DocumentId, request: Request, caller: Editor, services: Asked) -> Response:
    """Have a document indexed again: with what its collection says now. What is searched stays until that is done."""
    documents = services.knowledge.documents
    found = await documents.get(caller.workspace_id, document_id)
    await services.acceptor.require_room(caller.workspace_id)
    execution_id = (new_ids(request) or new_id)()
    former = await documents.assign(caller.workspace_id, document_id, execution_id)
    try:
        await _execute(services, found, caller.user_id, execution_id)
    except RayloomError:
        if former is not None:
            await _undo(documents.unassign(caller.workspace_id, document_id, execution_id, former))
        raise
    return answer(views.document_view(await documents.get(caller.workspace_id, document_id)), HTTPStatus.ACCEPTED)


@router.delete(
    "/{document_id}",
    operation_id="delete_document",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
)
async def delete_document(document_id: DocumentId, caller: Editor, services: Asked) -> Response:
    """Delete a document with its file, its passages and their vectors."""
    await services.knowledge.documents.delete(caller.workspace_id, document_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _execute(services: Services, document: Document, user_id: UUID, execution_id: UUID) -> None:
    collection = await services.knowledge.collections.get(document.workspace_id, document.collection_id)
    await internal.execute(
        services,
        document.workspace_id,
        user_id,
        internal.indexing(collection),
        {"document_id": str(document.id)},
        internal.INDEXING,
        identity=execution_id,
    )


async def _undo(undoing: Awaitable[None]) -> None:
    """Take back what was made for an execution that was refused. Without the database it stays, and is shown as failed after a while."""
    with suppress(StoreUnavailable):
        await undoing
