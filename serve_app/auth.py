"""Who asks: an API key in `X-API-Key` (or as a bearer token) belongs to a user and a workspace, with the user's role there."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import Context
from hashlib import sha256
from time import monotonic
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from serve_app.once import begin
from store.api_keys import Principal
from workflow.errors import Forbidden, NotFound, Unauthorized

KEY_TTL_S = 5.0
KEYS_KEPT_MAX = 4_096
WorkspaceId = Annotated[UUID, Path(description="the workspace's id")]
ROLES = ("viewer", "member", "admin", "owner")


def may_see_secrets(principal: Principal) -> bool:
    """Whether somebody is shown the secrets that documents hold: who may write them."""
    return ROLES.index(principal.role) >= ROLES.index("member")


class KeyCache:
    """Remembers who a key belongs to for a few seconds: a revoked key stops working within that time."""

    def __init__(
        self, authenticate: Callable[[str], Awaitable[Principal]], now: Callable[[], float] = monotonic
    ) -> None:
        self._authenticate = authenticate
        self._now = now
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Principal]] = {}

    async def principal(self, key: str) -> Principal:
        """Return who the key belongs to. Raises `Unauthorized`."""
        digest = sha256(key.encode("utf-8", "surrogateescape")).digest()
        until, principal = self._known.get(digest, (0.0, None))
        if principal is not None and self._now() < until:
            return principal
        asking = self._asking.get(digest)
        if asking is None:  # those who come with the same key meanwhile wait for the same answer
            asking = self._asking[digest] = asyncio.get_running_loop().create_task(
                self._ask(digest, key), context=Context()
            )
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(asking)

    async def _ask(self, digest: bytes, key: str) -> Principal:
        self._known.pop(digest, None)
        principal = await self._authenticate(key)
        self._known[digest] = (self._now() + KEY_TTL_S, principal)
        if len(self._known) > KEYS_KEPT_MAX:
            self._known.popitem(last=False)
        return principal


def presented_key(request: Request) -> str:
    """Return the key that came with a request. Raises `Unauthorized`."""
    key = request.headers.get("x-api-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not key and scheme.lower() == "bearer":
        key = token.strip()
    if not key:
        raise Unauthorized("an API key is needed: send it as X-API-Key", "api_key_missing")
    return key


async def caller(request: Request) -> Principal:
    """Return who asks. Raises `Unauthorized`."""
    keys: KeyCache = request.app.state.services.keys
    return await keys.principal(presented_key(request))


def _in_workspace(least: str, *, once: bool = True) -> Callable[[Request, UUID, Principal], Awaitable[Principal]]:
    async def check(
        request: Request, workspace_id: WorkspaceId, principal: Annotated[Principal, Depends(caller)]
    ) -> Principal:
        if principal.workspace_id != workspace_id:
            raise NotFound("there is no such workspace", fields={"workspace_id": str(workspace_id)})
        if ROLES.index(principal.role) < ROLES.index(least):
            raise Forbidden(f"this needs the role {least}; yours is {principal.role}", "role_too_low", {"needs": least})
        if once:  # not before: who may not ask must not see what was answered
            await begin(request, workspace_id, principal.user_id)
        return principal

    return check


Caller = Annotated[Principal, Depends(caller)]
Viewer = Annotated[Principal, Depends(_in_workspace("viewer"))]
Editor = Annotated[Principal, Depends(_in_workspace("member"))]
Executor = Annotated[Principal, Depends(_in_workspace("member", once=False))]
"""An editor whose Idempotency-Key is kept with the execution that is asked for."""
Admin = Annotated[Principal, Depends(_in_workspace("admin"))]
