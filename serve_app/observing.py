"""What is written and counted of every request: one structured line, one histogram sample. Plain ASGI, since it is on the hot path."""

from time import perf_counter
from typing import Any

import structlog
from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Observe:
    """Measures requests; the line carries method, route template, status, milliseconds and the request id of the proxy."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state
        self._log = structlog.get_logger("rayloom.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope, status, perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        path = getattr(route, "path", "") or "unknown"
        self._state.services.metrics.requests.labels(scope["method"], path, str(status)).observe(seconds)
        level = self._log.info if status < 500 else self._log.error
        level("request", method=scope["method"], route=path, status=status, ms=round(seconds * 1000, 2))
