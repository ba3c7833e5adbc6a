"""How our Ray head is started: the command, its environment, and a hook that runs inside `ray start`.

Everything that Ray 2.60 would put at a fixed port or path gets one of this instance's own. `ray start --block` stays
in the foreground: the kernel ends its servers with it, and it ends when one of them dies, so that one pid tells about
the whole head.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cluster
from cluster.home import Home
from cluster.ports import REPLICA_PORTS, Ports
from cluster.processes import Identity
from configs.settings import RAY_WORKER_PORTS, Settings

# Where the packages lie: children import the same ones as we do, whatever their working directory is.
CODE_ROOT = Path(cluster.__file__).resolve().parent.parent

LOG_BYTES_MAX = 64 * 1024 * 1024
LOG_FILES_KEPT = 2
SESSIONS_KEPT = 2
HAPROXY_THREADS_MAX = 4
HEALTH_CHECKS = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""How soon Ray gives a host up, and with it the tasks that ran there: with its own periods after 14 s (measured)."""


def start_command(settings: Settings, home: Home, ports: Ports) -> list[str]:
    """Return the command that runs a head in the foreground."""
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    flags: dict[str, Any] = {
        "log-color": "false",
        "port": ports.gcs,
        "node-manager-port": ports.node_manager,
        "object-manager-port": ports.object_manager,
        "min-worker-port": RAY_WORKER_PORTS[0],
        "max-worker-port": RAY_WORKER_PORTS[-1],
        "dashboard-host": "127.0.0.1",
        "dashboard-port": ports.dashboard,
        "dashboard-agent-listen-port": ports.agent_http,
        "dashboard-agent-grpc-port": ports.agent_grpc,
        "runtime-env-agent-port": ports.runtime_env_agent,
        "metrics-export-port": ports.metrics_export,
        "include-dashboard": "true",
        "temp-dir": home.ray_dir,
    }
    if settings.ray.num_cpus is not None:
        flags["num-cpus"] = settings.ray.num_cpus
    if settings.ray.object_store_mb is not None:
        flags["object-store-memory"] = settings.ray.object_store_mb * 1024 * 1024
    return command + [f"--{name}={value}" for name, value in flags.items()]


def ray_environment(
    settings: Settings, home: Home, ports: Ports, identity: Identity, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the head, which is also that of every worker, and of the driver."""
    return {
        **inherited,
        **identity.environment(),
        "PYTHONPATH": str(CODE_ROOT),
        "PYTHONSAFEPATH": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home.token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_worker_niceness": "0",
        **HEALTH_CHECKS,
        "RAY_START_HOOK": "cluster.ray_start.without_client_server",
        "RAY_ROTATION_MAX_BYTES": str(LOG_BYTES_MAX),
        "RAY_ROTATION_BACKUP_COUNT": str(LOG_FILES_KEPT),
        "AUTOSCALER_METRIC_PORT": str(ports.autoscaler_metrics),
        "DASHBOARD_METRIC_PORT": str(ports.dashboard_metrics),
        **_serve_environment(settings, home, ports),
    }


def without_client_server(ray_params: Any, head: bool) -> None:  # noqa: ARG001 - the signature that Ray calls
    """Start no Ray Client server: `ray start` has no flag for that, and it is one more open port and 100 MB."""
    ray_params.ray_client_server_port = None


def prepare_ray_dir(home: Home) -> None:
    """Make room for a new session: old ones go, except the youngest, whose logs may still be wanted."""
    shutil.rmtree(home.haproxy_dir, ignore_errors=True)
    home.haproxy_dir.mkdir(mode=0o700)
    (home.ray_dir / "ray_current_cluster").unlink(missing_ok=True)
    sessions = sorted(path for path in home.ray_dir.glob("session_2*") if path.is_dir() and not path.is_symlink())
    for old in sessions[: -SESSIONS_KEPT + 1]:
        shutil.rmtree(old, ignore_errors=True)


def head_address(home: Home) -> str | None:
    """Return the address that drivers connect to; `ray start` writes it when the whole head has come up."""
    try:
        return (home.ray_dir / "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


def obituary(home: Home) -> str:
    """Return which of the last session's servers have died, in Ray's words, or nothing when it has noted none."""
    try:
        text = (home.ray_dir / "session_latest" / "logs" / "ray_process_exit.log").read_text(errors="replace")
    except OSError:
        return ""
    return "; ".join(line.strip() for line in text.splitlines() if "[exit code=" in line)


def _serve_environment(settings: Settings, home: Home, ports: Ports) -> dict[str, str]:
    fallback = {
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
    }
    if settings.serve.proxy == "ray":
        return fallback
    folder = home.haproxy_dir
    return {
        # Serve starts a killed HAProxy again at the third failed check: after 29 s with its own period of 10 s
        # (measured).
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        **fallback,
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(HAPROXY_THREADS_MAX, settings.pool.actors)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports.replica_http),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports.replica_http + REPLICA_PORTS - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ports.replica_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(ports.replica_grpc + REPLICA_PORTS - 1),
    }
