"""Calls to the API that need no speed: storing workflows and single executions."""

import json
from time import perf_counter
from typing import Any

import httpx2

from benchmarks.instance import Running
from benchmarks.load import Call, post

WAIT_S = 60


class Api:
    """The API of the instance, one call at a time."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._client = httpx2.Client(
            base_url=running.workspace_url, headers={"X-API-Key": running.api_key}, timeout=WAIT_S + 30
        )

    def store(self, document: dict[str, Any]) -> str:
        """Store a workflow and return its id."""
        answer = self._client.post("/workflows", json=document)
        if answer.status_code != 201:
            raise RuntimeError(f"the workflow was refused: {answer.status_code} {answer.text[:500]}")
        return str(answer.json()["id"])

    def execute(self, workflow_id: str) -> tuple[dict[str, Any], float]:
        """Execute a workflow, wait for its end, and return it with the seconds that the answer took."""
        began_s = perf_counter()
        answer = self._client.post(f"/workflows/{workflow_id}/execute?wait={WAIT_S}", json={"input": {"amount": 7}})
        taken_s = perf_counter() - began_s
        execution = answer.json()
        if answer.status_code != 200 or execution.get("status") != "completed":
            raise RuntimeError(f"the execution did not complete: {answer.status_code} {answer.text[:800]}")
        return execution, taken_s

    def nodes(self, execution_id: str) -> list[dict[str, Any]]:
        """Return the nodes of an execution."""
        answer = self._client.get(f"/executions/{execution_id}/nodes")
        answer.raise_for_status()
        return list(answer.json()["items"])

    def waiting_call(self, workflow_id: str) -> Call:
        """Return the call that executes a workflow and waits for its result."""
        return Call(request=self._execute_request(workflow_id, "?wait=30"), expected=b'"status":"completed"')

    def submitting_call(self, workflow_id: str) -> Call:
        """Return the call that submits an execution and does not wait."""
        return Call(request=self._execute_request(workflow_id, ""), statuses=(b"202", b"200"))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _execute_request(self, workflow_id: str, query: str) -> bytes:
        url = f"{self._running.workspace_url}/workflows/{workflow_id}/execute{query}"
        return post(url, json.dumps({"input": {"amount": 7}}).encode(), self._running.api_key)
