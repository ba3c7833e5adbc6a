"""Bringing the configured database to the present tables, without starting anything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.instance import Instance, embedded_server
from cluster.ports import is_free, settle
from cluster.record import read_record
from workflow.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Migrated:
    """The revisions before and after; None before the first."""

    before: str | None
    after: str


def migrate_configured(instance: Instance) -> Migrated:
    """Apply the missing revisions. Raises `StoreUnavailable` when the database does not answer, `Unavailable` when it is
    just being started."""
    from store.migrate import current_revision, migrate
    from store.outages import outages

    with _database(instance) as dsn, outages():
        before = current_revision(dsn)
        migrate(dsn)
        return Migrated(before, current_revision(dsn) or "")


@contextmanager
def _database(instance: Instance) -> Iterator[str]:
    if (url := instance.settings.database.url) is not None:
        yield url
        return
    home = instance.home
    if home.is_kept():
        record = read_record(home)
        if record is None or "postgres" not in record.ports:
            raise Unavailable("Rayloom is just starting; it brings its database up to date itself", "starting")
        yield embedded_server(instance, record.ports["postgres"]).dsn
        return
    wanted = {"api": 0, "postgres": instance.settings.database.port, "dashboard": 0}
    with home.keeping():  # nobody starts it meanwhile
        server = embedded_server(instance, settle(home.remembered_ports(), wanted, home.root, is_free).postgres)
        server.start()
        try:
            yield server.dsn
        finally:
            server.stop()
