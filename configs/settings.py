"""What may differ between deployments, read once by the keeper and the command line: the only reader of the
environment.

Values given to `load` win over the environment, it wins over the YAML file named by RAYLOOM_CONFIG, and that over
`default.yaml`, which holds every default. An unknown name is an error, because a misspelt setting would be silently
lost.
"""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

DEFAULTS_FILE = Path(__file__).with_name("default.yaml")

Positive = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
ListenPort = Annotated[int, Field(ge=0, le=65535)]

# Ray gives these to its worker processes (`ray start --min-worker-port --max-worker-port`): our own must stay outside.
RAY_WORKER_PORTS = range(10002, 20000)

# The entry of `outbound.allow` that stands for the address and port of this instance's own API.
OWN_API = "api"


_NOT_SETTINGS = ("config", "instance")  # RAYLOOM_INSTANCE marks the processes of an instance


def _is_network(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
    return True


def _is_place(entry: str) -> bool:
    host, _, port = entry.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return port.isdecimal() and int(port) < 65_536


class InvalidSettingsError(ValueError):
    """A setting is unknown or has a value that does not fit; the message names it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    """Where the truth is kept."""

    url: str | None
    port: ListenPort

    @field_validator("url")
    @classmethod
    def _is_postgres(cls, url: str | None) -> str | None:
        if url and not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        return url or None


class RaySettings(_Section):
    """The Ray cluster to join, or the head to start."""

    address: str | None
    num_cpus: Positive | None
    object_store_mb: Annotated[int, Field(ge=80)] | None
    dashboard_port: ListenPort

    @field_validator("address")
    @classmethod
    def _empty_is_none(cls, address: str | None) -> str | None:
        return address or None


class PoolSettings(_Section):
    """The execution actors of a host and their leases."""

    size: Positive | None
    slots: Positive
    executions_max: Positive
    lease_ttl_ms: Positive
    renew_ms: Positive
    poll_ms: Positive

    @model_validator(mode="after")
    def _renews_in_time(self) -> "PoolSettings":
        if self.renew_ms * 2 > self.lease_ttl_ms:
            raise ValueError("renew_ms must be at most half of lease_ttl_ms, or one slow renewal loses the lease")
        return self

    @property
    def actors(self) -> int:
        """How many execution actors this host holds."""
        return self.size or len(os.sched_getaffinity(0))


class ServeSettings(_Section):
    """The HTTP side."""

    host: str
    port: ListenPort
    public_url: str | None
    replicas: Positive
    proxy: Literal["haproxy", "ray"]


class OutboundSettings(_Section):
    """What workflows may reach beside the public internet."""

    allow: tuple[str, ...]

    @field_validator("allow")
    @classmethod
    def _are_networks_or_places(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for entry in allow:
            if entry != OWN_API and not _is_network(entry) and not _is_place(entry):
                raise ValueError(
                    f"{entry!r} is neither a network (10.0.0.0/8) nor an address with a port (127.0.0.1:9000), nor `{OWN_API}`"
                )
        return allow


class BlobSettings(_Section):
    """Where large data are kept."""

    store: Literal["postgres", "files"]
    folder: Path | None


class LimitSettings(_Section):
    """The largest of everything that comes in."""

    body_bytes_max: Positive
    upload_bytes_max: Positive
    queued_per_workspace_max: Annotated[int, Field(ge=0)]
    input_bytes_max: Positive
    output_bytes_max: Positive
    blob_above_bytes: Positive
    nodes_max: Positive
    crashes_max: Positive
    wait_s_max: Positive
    depth_max: Positive


class HostedModelSettings(_Section):
    """One model that replicas hold."""

    source: str
    sha256: str = ""
    gpu: Annotated[float, Field(ge=0, le=8)] = 0.0
    accelerator: Annotated[str, Field(max_length=100)] = ""
    replicas_max: Positive = 1
    queued_max: Positive = 1_000
    idle_s: Annotated[float, Field(gt=0)] = 600.0
    threads: Positive = 1


class TransformerSettings(HostedModelSettings):
    """One model of sentence-transformers."""

    hub: bool = False
    batch_max: Positive = 64


class EmbeddingModelSettings(TransformerSettings):
    """One model that embeds texts."""

    query_prefix: str = ""
    passage_prefix: str = ""


class LanguageModelSettings(HostedModelSettings):
    """One language model in llama.cpp's format."""

    context_tokens: Positive = 8_192
    parallel: Positive = 2


class WireSettings(_Section):
    """In what a server differs from OpenAI's wire."""

    json_output: Literal["schema", "object", "none"] = "schema"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    usage_option: bool = True


class ProviderSettings(_Section):
    """Where language models are asked."""

    adapter: Literal["openai", "anthropic", "gemini", "hosted"]
    base_url: str = ""
    model: str = ""
    wire: WireSettings = WireSettings()
    tools: bool = True
    images: bool = True


class PriceSettings(_Section):
    """US dollars for a million tokens."""

    prompt: Annotated[Decimal, Field(ge=0)]
    completion: Annotated[Decimal, Field(ge=0)] = Decimal(0)


class BudgetSettings(_Section):
    """The most that may be used of models, in US dollars and tokens; None is no limit. A day is one of UTC."""

    execution_usd: Annotated[Decimal, Field(gt=0)] | None
    execution_tokens: Positive | None
    workspace_day_usd: Annotated[Decimal, Field(gt=0)] | None
    workspace_day_tokens: Positive | None


class ModelSettings(_Section):
    """The models that replicas hold."""

    embedding: str
    embeddings: dict[Name, EmbeddingModelSettings]
    ranking: str
    rankers: dict[Name, TransformerSettings]
    language: dict[Name, LanguageModelSettings]
    provider: str
    providers: dict[Name, ProviderSettings]
    api_keys: dict[Name, str] = Field(repr=False)
    prices: dict[Annotated[str, Field(pattern=r"^[^/]+/.+$")], PriceSettings]
    budgets: BudgetSettings

    @model_validator(mode="after")
    def _the_default_is_there(self) -> "ModelSettings":
        if self.embedding and self.embedding not in self.embeddings:
            raise ValueError(f"embedding names {self.embedding!r}, which is not among the embeddings")
        if self.ranking and self.ranking not in self.rankers:
            raise ValueError(f"ranking names {self.ranking!r}, which is not among the rankers")
        for name in (*filter(None, [self.provider]), *self.api_keys):
            if name not in self.providers:
                raise ValueError(f"{name!r} is not among the providers")
        return self


class Settings(BaseSettings):
    """All settings of one instance. Make it with `load`."""

    model_config = SettingsConfigDict(
        env_prefix="RAYLOOM_", env_nested_delimiter="__", env_parse_none_str="null", extra="forbid", frozen=True
    )

    home: Path
    database: DatabaseSettings
    ray: RaySettings
    pool: PoolSettings
    serve: ServeSettings
    outbound: OutboundSettings
    blobs: BlobSettings
    models: ModelSettings
    limits: LimitSettings

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @model_validator(mode="after")
    def _ports_are_not_rays(self) -> "Settings":
        for name, port in _listen_ports(self):
            if port in RAY_WORKER_PORTS:
                first, last = RAY_WORKER_PORTS[0], RAY_WORKER_PORTS[-1]
                raise ValueError(f"{name} is {port}, but Ray's workers use {first}-{last}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the sources in our order."""
        files: list[PydanticBaseSettingsSource] = []
        if chosen := os.environ.get("RAYLOOM_CONFIG"):
            files.append(YamlConfigSettingsSource(settings_cls, yaml_file=Path(chosen).expanduser()))
        files.append(YamlConfigSettingsSource(settings_cls, yaml_file=DEFAULTS_FILE))
        return init_settings, env_settings, _FamiliarNames(settings_cls), *files


class _FamiliarNames(PydanticBaseSettingsSource):
    """The two variables that the world around us already sets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if url := os.environ.get("DATABASE_URL"):
            found["database"] = {"url": url}
        if address := os.environ.get("RAY_ADDRESS"):
            found["ray"] = {"address": address}
        return found


def _listen_ports(settings: Settings) -> Iterator[tuple[str, int]]:
    yield "database.port", settings.database.port
    yield "ray.dashboard_port", settings.ray.dashboard_port
    yield "serve.port", settings.serve.port


def load(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings. Raises `InvalidSettingsError`."""
    chosen = os.environ.get("RAYLOOM_CONFIG")
    if chosen and not Path(chosen).expanduser().is_file():
        raise InvalidSettingsError(f"RAYLOOM_CONFIG names {chosen}, which is not a file")
    if unknown := _unknown_variables():
        raise InvalidSettingsError(f"there is no such setting: {', '.join(unknown)}")
    try:
        return Settings(**dict(overrides or {}))
    except ValidationError as error:
        raise InvalidSettingsError("; ".join(_sentence(one) for one in error.errors())) from None
    except (SettingsError, YAMLError, OSError) as error:
        raise InvalidSettingsError(f"the settings cannot be read: {error}") from None


def _unknown_variables() -> list[str]:
    # pydantic reports what is misspelt inside a section, but never sees a misspelt section.
    known = {*Settings.model_fields, *_NOT_SETTINGS}
    ours = sorted(name for name in os.environ if name.startswith("RAYLOOM_"))
    return [name for name in ours if name.removeprefix("RAYLOOM_").lower().split("__")[0] not in known]


def _sentence(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = (
        "there is no such setting" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    )
    return f"{where}: {message}" if where else message
