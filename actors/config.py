"""What actors are told when they are made: plain frozen values, since a Ray worker does not have its driver's environment."""

from dataclasses import dataclass, field

from actors.models import ModelsConfig

BLOB_ABOVE_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Limits of one execution on its actor."""

    output_bytes_max: int = 256 * 1024 * 1024
    """The JSON of one node's outputs, and of the execution's output."""
    blob_above_bytes: int = BLOB_ABOVE_BYTES
    """JSON larger than this is kept as a blob, and its row names it."""
    released_above_bytes: int = 1_024
    """Outputs larger than this leave memory as soon as nothing can need them any more."""
    crashes_max: int = 5
    """Owners that an execution may bring down while it is alone on them."""
    unflushed_events_max: int = 1_000
    unflushed_bytes_max: int = 8 * 1024 * 1024
    linger_ms: int = 25
    """How long results of pure nodes may wait for company before they are flushed, when nothing visible waits for them."""
    inline_items_max: int = 1_000
    inline_bytes_max: int = 256 * 1024
    rest_above_ms: int | None = 2_000
    """An execution of which everything waits leaves its actor if it waits for longer than this; None: it stays."""
    task_losses_max: int = 3
    """How often the work of a pure node is begun again because the process that did it died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """All that the supervisor and its execution actors need to know."""

    dsn: str
    cluster_id: str
    size: int
    slots: int = 32
    executions_max: int = 20_000
    """Executions after which an actor is replaced by a fresh one."""
    lease_ttl_ms: int = 6_000
    renew_ms: int = 2_000
    poll_ms: int = 500
    orphan_grace_ms: int = 1_500
    """How long a busy actor leaves orphans to idle ones."""
    crashes_max: int = 5
    output_bytes_max: int = 256 * 1024 * 1024
    blob_above_bytes: int = BLOB_ABOVE_BYTES
    blobs_folder: str = ""
    """Where blobs are files, for a single host; empty: they are in PostgreSQL."""
    outbound_allow: tuple[str, ...] = ()
    """Networks and places (`address:port`) that workflows may reach beside the public internet."""
    own_ports: tuple[tuple[int, int], ...] = ()
    """Ranges of ports that this instance listens on."""
    link_key: str = ""
    """Signs the links by which requests are answered without a login (hex)."""
    public_url: str = ""
    """Where others reach the API: what links begin with."""
    depth_max: int = 3
    """How deep executions that start one another may be."""
    models: ModelsConfig = field(default_factory=ModelsConfig)

    @property
    def limits(self) -> EngineLimits:
        """The limits of each execution."""
        return EngineLimits(
            crashes_max=self.crashes_max,
            output_bytes_max=self.output_bytes_max,
            blob_above_bytes=self.blob_above_bytes,
        )
