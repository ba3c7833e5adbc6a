"""The whole API without Ray: the real application and a real execution process in one event loop, over real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from psycopg import sql

from actors.config import PoolConfig
from actors.line import Line
from actors.members import Member, Reply
from actors.models import Adapter, HostedLanguageModel, HostedModel, ModelsConfig, ModelSource, Provider
from actors.process import ExecutionProcess, TaskHost
from actors.work import Outcome, TaskCall
from serve_app.app import create_app
from serve_app.config import ApiConfig, ApiLimits
from serve_app.services import open_services
from store.accounts import Accounts, Role
from store.api_keys import ApiKeys, new_key
from store.bootstrap import bootstrap
from store.embedded import EmbeddedServer
from store.engine import StoreConfig, make_engine
from tests.conftest import copied, database_dsn, run_sql
from tests.models import WordModels
from workflow.ports import Claimed


class ThreadTasks:
    """Ray tasks, without Ray: the same host of node work in a thread."""

    async def run(self, call: TaskCall) -> Outcome:
        outcome = await asyncio.to_thread(lambda: TaskHost(host="here", pid=1).run(call))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class OneProcessPool:
    """The pool's port over one execution process in this loop. `deaf` loses every call, as a replica killed in between would."""

    def __init__(self, process: ExecutionProcess) -> None:
        self.process = process
        self.deaf = False
        self.absent = False
        self.line: Line | None = None
        self.settled: list[bool] = []

    async def members(self) -> list[Member]:
        return [] if self.absent else [self.process.member]

    async def run(self, member: Member, batch: Sequence[Claimed]) -> Sequence[Reply]:
        if self.deaf:
            raise ConnectionError("lost")
        return await self.process.run(batch)

    async def outcomes(self, member: Member, waiting: Sequence[UUID]) -> Sequence[Reply]:
        return await self.process.outcomes(waiting)

    def begin(self, member: Member, claimed: Claimed) -> Coroutine[Any, Any, Reply] | None:
        return None if self.line is None or self.deaf else self.line.begin(claimed)

    def settle(self, member: Member, execution_id: UUID, *, accepted: bool) -> None:
        if self.line is not None:
            self.settled.append(accepted)
            self.line.settle(execution_id, accepted=accepted)

    def deliver(self, actor_name: str, execution_id: UUID) -> None:
        asyncio.get_running_loop().create_task(self.process.deliver(execution_id))

    def wake_dedicated(self) -> None:
        return


INHABITED = "template_inhabited"
LINK_KEY = "5f" * 32
MODELS = ModelsConfig(
    embedding="words",
    embeddings=(HostedModel(source=ModelSource(name="words", source="words")),),
    language=(HostedLanguageModel(source=ModelSource(name="parrot", source="parrot")),),
    provider="local",
    providers=(Provider(name="local", adapter=Adapter.HOSTED, model="parrot"),),
)
"""What `tests.models.WordModels` stands for."""


@dataclass
class Api:
    client: httpx2.AsyncClient
    workspace_id: UUID
    keys: dict[str, str]
    pool: OneProcessPool
    elsewhere: UUID
    """The stranger's workspace."""

    @property
    def base(self) -> str:
        return f"/api/v1/workspaces/{self.workspace_id}"

    async def call(self, method: str, path: str, *, by: str = "owner", **kwargs: Any) -> httpx2.Response:
        headers = {"X-API-Key": self.keys[by], **kwargs.pop("headers", {})} if by else kwargs.pop("headers", {})
        return await self.client.request(
            method, path if path.startswith("/") else f"{self.base}/{path}", headers=headers, **kwargs
        )

    async def run(
        self, *nodes: dict, connections: tuple = (), wait: float = 20, given: Any = None, **settings: Any
    ) -> httpx2.Response:
        definition = {
            "name": "test",
            "nodes": list(nodes),
            "connections": [dict(zip(("source", "target", "sourceHandle"), c, strict=False)) for c in connections],
        }
        if settings:
            definition["settings"] = settings
        return await self.call("POST", f"executions?wait={wait}", json={"definition": definition, "input": given})


@pytest.fixture
def models() -> ModelsConfig:
    """The models of the instance; a test may have others."""
    return MODELS


@dataclass(frozen=True)
class Inhabitants:
    """Who there is in every test's database: hashing their passwords anew for each would take half of its time."""

    workspace_id: UUID
    keys: dict[str, str]
    elsewhere: UUID


@pytest.fixture(scope="session")
def inhabitants(postgres_server: EmbeddedServer, template_database: str) -> Inhabitants:
    """Make the database that those of the tests are copied from: one workspace with each role, one of a stranger."""
    inhabited = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(INHABITED), sql.Identifier(template_database)
    )
    run_sql(postgres_server.dsn, inhabited)
    dsn, owner_key = database_dsn(postgres_server, INHABITED), new_key()
    made = bootstrap(dsn, email="owner@example.org", password="a password", workspace_name="first", api_key=owner_key)
    others, elsewhere = asyncio.run(_other_keys(dsn, made.workspace_id))
    return Inhabitants(made.workspace_id, {"owner": owner_key, **others}, elsewhere)


@pytest.fixture
def dsn(postgres_server: EmbeddedServer, inhabitants: Inhabitants) -> Iterator[str]:
    """A fresh database with the inhabitants."""
    with copied(postgres_server, INHABITED) as fresh:
        yield fresh


@pytest.fixture
async def api(dsn: str, models: ModelsConfig, inhabitants: Inhabitants) -> AsyncIterator[Api]:
    config = PoolConfig(
        dsn=dsn,
        cluster_id="test",
        size=1,
        slots=8,
        poll_ms=50,
        renew_ms=200,
        link_key=LINK_KEY,
        outbound_allow=("127.0.0.1/32",),
        models=models,
    )
    process = ExecutionProcess(config, ThreadTasks(), WordModels(), actor_id="actor", name="actor", host="here", pid=1)
    await process.start()
    pool = OneProcessPool(process)
    pool.line = await Line.to(process.member.lease_id)
    limits = ApiLimits(body_bytes_max=1_000_000, input_bytes_max=200_000)
    api_config = ApiConfig(
        dsn=dsn, namespace="test", limits=limits, link_key=LINK_KEY, public_url="http://test", models=models
    )
    app = create_app(lambda: open_services(api_config, pool, WordModels()))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Api(client, inhabitants.workspace_id, inhabitants.keys, pool, inhabitants.elsewhere)
    await process.close()


async def _other_keys(dsn: str, workspace_id: UUID) -> tuple[dict[str, str], UUID]:
    engine = make_engine(StoreConfig(dsn=dsn))
    accounts, api_keys = Accounts(engine), ApiKeys(engine)
    keys = {}
    for role in (Role.VIEWER, Role.MEMBER):
        user = await accounts.create_user(f"{role.value}@example.org", "a password")
        await accounts.add_member(workspace_id, user.id, role)
        _, keys[role.value] = await api_keys.create(workspace_id, user.id, role.value)
    stranger = await accounts.create_user("stranger@example.org", "a password")
    elsewhere = await accounts.create_workspace(stranger.id, "elsewhere")
    _, keys["stranger"] = await api_keys.create(elsewhere.id, stranger.id, "key")
    await engine.dispose()
    return keys, elsewhere.id


def rows_in(dsn: str, table: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return row[0] if row else 0
