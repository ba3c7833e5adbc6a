"""From settings and home to what the pool, the Serve application and the driver are given: the one place where names
meet.

Actors and replicas read no settings: what they need travels as plain data, made here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from cluster.home import Home
from cluster.ports import Ports
from configs.settings import OWN_API, RAY_WORKER_PORTS, HostedModelSettings, Settings

NAMESPACE = "rayloom"
APPLICATION = "rayloom"
BUILDER = "serve_app.deployment:build"
SOURCE_FIELDS = ("source", "sha256", "hub", "query_prefix", "passage_prefix", "batch_max")
"""What of a model's settings says where it comes from; the rest says how it is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPlan:
    """All that a driver does: JSON on its standard input."""

    address: str
    namespace: str
    pool: dict[str, Any]
    application: dict[str, Any]
    models: dict[str, Any]
    builder: str
    host: str
    port: int
    base_url: str
    report_file: str
    joined: bool

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)


def base_url(settings: Settings, ports: Ports) -> str:
    """Return the address under which a client on this host reaches the API."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - an address to translate, not to listen on
    return f"http://{everywhere.get(settings.serve.host, settings.serve.host)}:{ports.api}"


def public_url(settings: Settings, ports: Ports) -> str:
    """Return the address under which others reach the API: what links in mails begin with."""
    return (settings.serve.public_url or base_url(settings, ports)).rstrip("/")


def dashboard_url(settings: Settings, ports: Ports) -> str:
    """Return the address of our Ray dashboard, or nothing when the cluster is somebody else's."""
    return "" if settings.ray.address else f"http://127.0.0.1:{ports.dashboard}"


def blobs_folder(settings: Settings, home: Home) -> str:
    """Return the folder of blobs that are files; empty where they are in PostgreSQL."""
    if settings.blobs.store == "postgres":
        return ""
    return str((settings.blobs.folder or home.blobs).expanduser().resolve())


def pool_arguments(settings: Settings, home: Home, ports: Ports, dsn: str) -> dict[str, Any]:
    """Return the fields of `actors.config.PoolConfig`."""
    pool = settings.pool
    return {
        "dsn": dsn,
        "cluster_id": home.instance,
        "size": pool.actors,
        "slots": pool.slots,
        "executions_max": pool.executions_max,
        "lease_ttl_ms": pool.lease_ttl_ms,
        "renew_ms": pool.renew_ms,
        "poll_ms": pool.poll_ms,
        "crashes_max": settings.limits.crashes_max,
        "output_bytes_max": settings.limits.output_bytes_max,
        "outbound_allow": [
            urlsplit(base_url(settings, ports)).netloc if entry == OWN_API else entry
            for entry in settings.outbound.allow
        ],
        "own_ports": [*ports.ranges(), (RAY_WORKER_PORTS[0], RAY_WORKER_PORTS[-1])],
        "blob_above_bytes": settings.limits.blob_above_bytes,
        "blobs_folder": blobs_folder(settings, home),
        "link_key": home.secrets().link_key,
        "public_url": public_url(settings, ports),
        "depth_max": settings.limits.depth_max,
    }


def application_arguments(settings: Settings, home: Home, ports: Ports, dsn: str) -> dict[str, Any]:
    """Return the argument of `serve_app.deployment:build`."""
    return {
        "dsn": dsn,
        "namespace": NAMESPACE,
        "replicas": settings.serve.replicas,
        "blobs_folder": blobs_folder(settings, home),
        "limits": settings.limits.model_dump(),
        "link_key": home.secrets().link_key,
        "public_url": public_url(settings, ports),
        "models": models(settings),
    }


def models(settings: Settings) -> dict[str, Any]:
    """Return the values of `actors.models.ModelsConfig`."""
    chosen = settings.models
    return {
        "embedding": chosen.embedding,
        "embeddings": [_hosted(name, model) for name, model in chosen.embeddings.items()],
        "ranking": chosen.ranking,
        "rankers": [_hosted(name, model) for name, model in chosen.rankers.items()],
        "language": [_hosted(name, model) for name, model in chosen.language.items()],
        "provider": chosen.provider,
        "providers": [
            {"name": name, **provider.model_dump(), "api_key": chosen.api_keys.get(name, "")}
            for name, provider in chosen.providers.items()
        ],
        "prices": {
            name: {"prompt": str(price.prompt), "completion": str(price.completion)}
            for name, price in chosen.prices.items()
        },
        "budgets": {
            "execution": _budget(chosen.budgets.execution_usd, chosen.budgets.execution_tokens),
            "workspace_day": _budget(chosen.budgets.workspace_day_usd, chosen.budgets.workspace_day_tokens),
        },
    }


def _budget(usd: Decimal | None, tokens: int | None) -> dict[str, Any]:
    return {"usd": None if usd is None else str(usd), "tokens": tokens}


def _hosted(name: str, model: HostedModelSettings) -> dict[str, Any]:
    return {
        "source": {"name": name, **model.model_dump(include=set(SOURCE_FIELDS))},
        **model.model_dump(exclude=set(SOURCE_FIELDS)),
    }


def driver_plan(settings: Settings, home: Home, ports: Ports, dsn: str, address: str) -> DriverPlan:
    """Return what the driver shall do on the cluster at `address`."""
    return DriverPlan(
        address=address,
        namespace=NAMESPACE,
        pool=pool_arguments(settings, home, ports, dsn),
        application=application_arguments(settings, home, ports, dsn),
        models=models(settings),
        builder=BUILDER,
        host=settings.serve.host,
        port=ports.api,
        base_url=base_url(settings, ports),
        report_file=str(home.driver_file),
        joined=settings.ray.address is not None,
    )


def read_plan(document: Mapping[str, Any]) -> DriverPlan:
    """Return the plan that was written by `DriverPlan.as_json`."""
    return DriverPlan(**document)
