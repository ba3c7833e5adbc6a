"""Health and metrics: no key needed, nothing of a tenant in them."""

import asyncio
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from serve_app.routes.asking import Asked, answer
from workflow.errors import RayloomError

router = APIRouter(tags=["health"])

CHECK_S = 2.0


@router.get("/health/live", operation_id="health_live")
async def live() -> Response:
    """Say that this replica answers."""
    return answer({"status": "alive"})


@router.get("/health/ready", operation_id="health_ready", responses={503: {"description": "something is missing"}})
async def ready(services: Asked) -> Response:
    """Say whether executions can be accepted and run: the database answers and the pool has actors."""
    database = await _database_answers(services)
    actors = [m for m in services.pool.members if not m.draining]
    checks = {"database": database, "pool": bool(actors)}
    fine = all(checks.values())
    body = {
        "status": "ready" if fine else "not ready",
        "checks": checks,
        "actors": len(actors),
        "slots": sum(m.slots for m in actors),
    }
    return answer(body, HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/metrics", operation_id="metrics")
async def metrics(services: Asked) -> Response:
    """Give the metrics in Prometheus' text format."""
    known = services.metrics
    load = await services.listing.load()
    known.executions.labels("queued").set(load.queued + load.queued_dedicated)
    known.executions.labels("running").set(load.running)
    known.oldest_queued.set(load.oldest_queued_ms / 1000)
    known.actors.set(len(services.pool.members))
    known.slots_used.set(sum(m.active for m in services.pool.members))
    return Response(known.render(), media_type=CONTENT_TYPE_LATEST)


async def _database_answers(services: Asked) -> bool:
    try:
        async with asyncio.timeout(CHECK_S):
            await services.executions.ping()
    except (RayloomError, TimeoutError):
        return False
    return True
