"""Requests to execute a part of a workflow instead of the whole: its document is cut and compiled, and stored with the execution."""

from dataclasses import replace
from typing import Any

import orjson

from serve_app.accepting import Request
from serve_app.services import Services
from store.repeating import ONE_NODE
from workflow.document import Document
from workflow.errors import Unprocessable
from workflow.parts import Given, alone, until

PARTIAL = "partial"


def until_node_of(asked: dict[str, Any]) -> str | None:
    """Return the node that a body wants the execution to end with. Raises `Unprocessable`."""
    found = asked.get("until_node")
    if found is not None and not isinstance(found, str):
        raise Unprocessable("`until_node` is the id of a node", "until_node_invalid")
    return found


async def cut_until(services: Services, whole: Request, node_id: str | None) -> Request:
    """Return the request for the part up to and with a node; without one, the request as it is. Raises `Unprocessable`."""
    if node_id is None:
        return whole
    document = await services.documents.apart([orjson.loads(whole.definition)], lambda one: until(one, node_id))
    return await _of_part(services, whole, document, PARTIAL)


async def cut_out(services: Services, whole: Request, node_id: str, given: Given, *, from_input: bool) -> Request:
    """Return the request for one node, with data given for others. Raises `Unprocessable`, `InvalidDefinition`."""
    document = await services.documents.apart(
        [orjson.loads(whole.definition)],
        lambda one: alone(one, node_id, services.catalog, given, from_input=from_input),
    )
    return await _of_part(services, whole, document, ONE_NODE)


async def _of_part(services: Services, whole: Request, document: Document, trigger_type: str) -> Request:
    written = document.model_dump(mode="json")
    await services.documents.compiled(written)
    definition = orjson.dumps(written)

    new = replace(
        whole.new,
        definition=definition,
        workflow_version=whole.version,
        nodes_total=len(document.nodes),
        isolation=document.settings.isolation,
        trigger_type=trigger_type,
    )
    return replace(whole, new=new, definition=definition)
