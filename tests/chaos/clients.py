"""A client that goes away in the middle of its request."""

import http.client
import json
import secrets
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from tests.chaos.work import chain, node, sleeping
from tests.instance import RunningInstance, until


def far_and_near() -> dict[str, Any]:
    """Return a workflow of a node in a Ray task, one in the actor, and one that shows that both were done."""
    return chain(
        "far and near",
        sleeping("far", 1.5, cpu=1),
        sleeping("near", 0.5),
        node("done", "data.set", values={"done": True}),
    )


def disconnect_while_waiting(instance: RunningInstance) -> UUID:
    """Ask for an execution with `?wait=30`, and close the connection while its Ray task runs. Returns its id."""
    address = urlsplit(str(instance.api.http.base_url))
    key = f"gone-{secrets.token_hex(8)}"
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    headers = {
        "X-API-Key": instance.api.http.headers["X-API-Key"],
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    }
    body = json.dumps({"definition": far_and_near(), "input": {"n": 1}})
    connection.request("POST", f"{instance.api.workspace}/executions?wait=30", body, headers)
    try:
        ((identity,),) = until(
            lambda: instance.rows(
                "SELECT k.execution_id FROM idempotency_keys k JOIN stream_events s ON s.execution_id = k.execution_id "
                "WHERE k.key = %s AND s.kind = 'node.started'",
                key,
            ),
            20,
            "its Ray task has started",
        )
    finally:
        connection.close()
    assert instance.states([identity]) == {identity: "running"}, "it had ended before the client went away"
    return identity


FAR_AND_NEAR = ("start", "far", "near", "done")
