"""One instance put together: settings, home, ports, and the parts that its keeper keeps."""

import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.compose import base_url, driver_plan
from cluster.database_part import EmbeddedDatabase, GivenDatabase
from cluster.driver_part import DriverProcess
from cluster.home import Home, open_home, write_json
from cluster.keeper import Kept
from cluster.parts import Launch, Starter
from cluster.ports import Ports, is_free, settle
from cluster.processes import Identity, end_all, find, listener_on
from cluster.ray_part import GivenCluster, OwnHead
from cluster.ray_start import CODE_ROOT, head_address, obituary, prepare_ray_dir, ray_environment, start_command
from configs import environment, settings
from configs.settings import InvalidSettingsError, Settings
from store.embedded import EmbeddedServer
from workflow.errors import BadInput, Conflict

DATABASE_LIMIT_S = 180.0
RAY_LIMIT_S = 90.0
DRIVER_LIMIT_S = 180.0
LEAVE_GRACE_S = 20.0
FIRST_WORKSPACE = "Default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One Rayloom on this host."""

    settings: Settings
    home: Home
    identity: Identity


def open_instance() -> Instance:
    """Return the instance that the settings describe, its home made. Raises `BadInput`, `UnsafeHome` or
    `Unavailable`.
    """
    chosen = load_settings()
    home = open_home(chosen.home, secrets.token_hex)
    return Instance(settings=chosen, home=home, identity=Identity(instance=home.instance, folder=home.work))


def load_settings() -> Settings:
    """Return the settings. Raises `BadInput`."""
    try:
        return settings.load()
    except InvalidSettingsError as error:
        raise BadInput(f"the settings are not valid: {error}", "bad_settings") from None


def settle_ports(instance: Instance) -> Ports:
    """Return this start's ports, and remember them. Raises `Conflict` when the API's own port is taken.

    A database of ours that has outlived its keeper keeps its port: it is adopted with it, and workflows must not reach it.
    """
    chosen, home = instance.settings, instance.home
    database = None if chosen.database.url else embedded_server(instance, chosen.database.port).running_port()
    wanted = {
        "api": chosen.serve.port,
        "postgres": database or chosen.database.port,
        "dashboard": chosen.ray.dashboard_port,
    }
    ports = settle(home.remembered_ports(), wanted, home.root, is_free)
    if not is_free(ports.api):
        holder = listener_on(ports.api)
        raise Conflict(
            f"port {ports.api} is taken by {holder}; stop it, or choose another port with RAYLOOM_SERVE__PORT",
            "port_taken",
            {"port": ports.api},
        )
    home.remember_ports(ports)
    return ports


def embedded_server(instance: Instance, port: int) -> EmbeddedServer:
    """Return the instance's own PostgreSQL server, running or not."""
    home = instance.home
    return EmbeddedServer(home.postgres, port=port, password=home.secrets().postgres_password)


def make_parts(instance: Instance, ports: Ports, starter: Starter, say: Callable[[str], None]) -> list[Kept]:
    """Return the parts in the order of their start."""
    database = _database(instance, ports, say)
    ray = _ray(instance, ports, starter)
    driver = DriverProcess(
        Launch(
            command=(sys.executable, "-P", "-m", "cluster.driver"),
            environment=_environment(instance, ports),
            folder=instance.home.work,
            log=instance.home.log("driver"),
            wants_input=True,
        ),
        starter,
        plan=lambda: driver_plan(instance.settings, instance.home, ports, database.dsn, ray.address),
        report_file=instance.home.driver_file,
        grace_s=LEAVE_GRACE_S if instance.settings.ray.address else 0.0,
    )
    return [
        Kept(part=database, start_limit_s=DATABASE_LIMIT_S),
        Kept(part=ray, start_limit_s=RAY_LIMIT_S),
        Kept(part=driver, start_limit_s=DRIVER_LIMIT_S, needs=("database", "ray"), dies_with=("ray",)),
    ]


def prepare_database(instance: Instance, ports: Ports, dsn: str, say: Callable[[str], None]) -> None:
    """Bring the database to the present tables, with a first administrator, and write down how to reach it all."""
    # Imported here: the keeper's other parts start meanwhile.
    from store.bootstrap import bootstrap
    from store.migrate import migrate

    began_s = time.monotonic()
    migrate(dsn)
    made = instance.home.secrets()
    first = bootstrap(
        dsn, email=made.email, password=made.password, workspace_name=FIRST_WORKSPACE, api_key=made.api_key
    )
    admin = {
        "base_url": base_url(instance.settings, ports),
        "workspace_id": str(first.workspace_id),
        "email": made.email,
        "password": made.password,
        "api_key": made.api_key,
    }
    write_json(instance.home.admin_file, admin)
    say(f"the database was prepared in {time.monotonic() - began_s:.1f} s")


def _database(instance: Instance, ports: Ports, say: Callable[[str], None]) -> EmbeddedDatabase | GivenDatabase:
    def prepare(dsn: str) -> None:
        prepare_database(instance, ports, dsn, say)

    if (url := instance.settings.database.url) is not None:
        return GivenDatabase(url, prepare)
    return EmbeddedDatabase(embedded_server(instance, ports.postgres), prepare, lambda pid: find(pid, None) is not None)


def _ray(instance: Instance, ports: Ports, starter: Starter) -> OwnHead | GivenCluster:
    if (address := instance.settings.ray.address) is not None:
        return GivenCluster(address)
    home = instance.home
    launch = Launch(
        command=tuple(start_command(instance.settings, home, ports)),
        environment=_environment(instance, ports),
        folder=home.work,
        log=home.log("ray"),
    )
    return OwnHead(
        launch,
        starter,
        prepare=lambda: prepare_ray_dir(home),
        address=lambda: head_address(home),
        obituary=lambda: obituary(home),
        sweep=lambda: end_all(instance.identity),
    )


def _environment(instance: Instance, ports: Ports) -> dict[str, str]:
    if instance.settings.ray.address is None:
        return ray_environment(instance.settings, instance.home, ports, instance.identity, environment.for_ray())
    return {
        **environment.for_joining(),
        **instance.identity.environment(),
        "PYTHONPATH": str(CODE_ROOT),
        "PYTHONSAFEPATH": "1",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
