"""Workflows that the API itself executes: indexing a document, answering from documents. They go the way of all executions."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from uuid import UUID

import orjson

from actors.ids import new_id
from serve_app.accepting import Request, Submitted
from serve_app.services import Services
from workflow.document import parse_document
from workflow.knowledge import Collection
from workflow.ports import IdempotencyKey, NewExecution

INDEXING, ANSWERING = "document", "rag_query"
"""The trigger types of these executions."""


def indexing(collection: Collection) -> dict[str, Any]:
    """Return the workflow that reads a document, cuts it, embeds its passages and indexes them."""
    nodes: list[dict[str, Any]] = [
        {"id": "start", "type": "trigger.manual"},
        {"id": "load", "type": "ai.document_load", "config": {"document_id": "{{ $json.document_id }}"}},
        {
            "id": "chunk",
            "type": "ai.chunk",
            "config": {
                "text": "{{ $json.text }}",
                "tokens": collection.chunk_tokens,
                "overlap": collection.overlap_tokens,
            },
        },
        {
            "id": "embed",
            "type": "ai.embed",
            "config": {"text": "{{ $json.content }}", "model": collection.embedding_model},
            "retry": {"max_attempts": 5, "backoff": "exponential", "initial_ms": 1_000, "max_ms": 30_000},
        },
        {"id": "index", "type": "ai.index"},
    ]
    return _chained(f"Index into {collection.name}", nodes)


def answering(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the workflow that answers a question from documents; the question comes as its input, where nothing is evaluated."""
    asked = {**config, "query": "{{ $json.query }}"}
    nodes: list[dict[str, Any]] = [
        {"id": "start", "type": "trigger.manual"},
        {"id": "answer", "type": "ai.rag_query", "config": asked},
    ]
    return _chained("Answer from documents", nodes)


def _chained(name: str, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    ids = [node["id"] for node in nodes]
    connections = [{"source": one, "target": other} for one, other in pairwise(ids)]
    return {"name": name, "nodes": nodes, "connections": connections}


async def execute(
    services: Services,
    workspace_id: UUID,
    user_id: UUID,
    definition: Mapping[str, Any],
    given: Mapping[str, Any],
    trigger_type: str,
    *,
    identity: UUID | None = None,
    key: IdempotencyKey | None = None,
    waits: bool = False,
) -> tuple[Submitted, NewExecution]:
    """Accept an execution of a definition of ours. Raises what `Acceptor.accept` does."""
    document = parse_document(dict(definition))
    stored = orjson.dumps(definition)
    new = NewExecution(
        id=identity or new_id(),
        workspace_id=workspace_id,
        workflow_id=None,
        definition=stored,
        input=orjson.dumps(given),
        nodes_total=len(document.nodes),
        trigger_type=trigger_type,
        triggered_by=user_id,
        isolation=document.settings.isolation,
        idempotency=key,
    )

    asked = Request(new=new, workflow_name=document.name, version=None, definition=stored, waits=waits)
    return await services.acceptor.accept(asked), new
