"""The application: routers, error handlers, middleware. No Ray in here: it runs as well under any ASGI server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from serve_app.observing import Observe
from serve_app.once import Once, answer_replays
from serve_app.openapi import describe
from serve_app.problems import answer_errors
from serve_app.requests import RespondBody
from serve_app.routes import (
    collections,
    conversations,
    documents,
    events,
    execution_control,
    execution_items,
    execution_lists,
    executions,
    health,
    hitl,
    model_list,
    node_types,
    rag,
    repeats,
    respond,
    usage,
    workflow_files,
    workflow_versions,
    workflows,
)
from serve_app.routes.collections import CollectionBody
from serve_app.routes.execution_lists import BulkDelete
from serve_app.services import Services

PREFIX = "/api/v1"


def create_app(open_services: Callable[[], AbstractAsyncContextManager[Services]]) -> FastAPI:
    """Return the application; its services live as long as it does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="Rayloom",
        version="1",
        description="Durable workflows on a Ray cluster. Errors are problem+json (RFC 9457) with a stable `code`.",
        lifespan=lifespan,
    )
    # Lists come first: `executions/stats` is no execution's id.
    for module in (
        workflow_files,
        workflows,
        workflow_versions,
        execution_lists,
        execution_items,
        executions,
        execution_control,
        repeats,
        events,
        node_types,
        hitl,
        respond,
        collections,
        documents,
        rag,
        conversations,
        usage,
        model_list,
    ):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(health.router)
    answer_errors(app)
    answer_replays(app)
    describe(app, BulkDelete, CollectionBody, RespondBody)
    app.add_middleware(Once, state=app.state)
    app.add_middleware(Observe, state=app.state)
    return app
