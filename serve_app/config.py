"""What a replica is told when it is made: plain values, since it does not have its driver's environment."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

from actors.models import ModelsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLimits:
    """Limits of what may be asked."""

    body_bytes_max: int = 16 * 1024 * 1024
    upload_bytes_max: int = 50 * 1024 * 1024
    """The largest document."""
    input_bytes_max: int = 4 * 1024 * 1024
    blob_above_bytes: int = 65_536
    """An input larger than this is kept as a blob."""
    nodes_max: int = 5_000
    wait_s_max: int = 300
    queued_per_workspace_max: int = 100_000
    """0: as many as come."""
    depth_max: int = 3
    """How deep executions that start one another may be."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Take what concerns the API from the limits of all parts."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """All that a replica needs to know."""

    dsn: str
    namespace: str
    limits: ApiLimits
    blobs_folder: str = ""
    """Where blobs are files; empty: they are in PostgreSQL."""
    link_key: str = ""
    """Signs the links by which requests are answered without a login (hex)."""
    public_url: str = ""
    """What links begin with."""
    models: ModelsConfig = field(default_factory=ModelsConfig)
