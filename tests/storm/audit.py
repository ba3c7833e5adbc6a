"""Triggers that watch the tables while the storm goes on: what must never be written, and flushes that were refused.

A flush all of whose parts are refused updates no row; a trigger per statement sees it all the same, and by which connection it came.
"""

from dataclasses import dataclass
from typing import Any

import psycopg

from workflow.states import SETTLED, TERMINAL


def _among(statuses: frozenset[Any]) -> str:
    return ", ".join(f"'{status.value}'" for status in sorted(statuses))


INSTALL = f"""
CREATE TABLE storm_audit (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL, execution_id uuid, detail text NOT NULL);
CREATE TABLE storm_refused (at timestamptz NOT NULL DEFAULT clock_timestamp(), client_port int);

CREATE FUNCTION storm_execution() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO storm_audit (what, execution_id, detail) VALUES (TG_ARGV[0], NEW.id,
        format('%s epoch %s event %s -> %s epoch %s event %s', OLD.status, OLD.epoch, OLD.last_seq,
            NEW.status, NEW.epoch, NEW.last_seq));
    RETURN NULL;
END $$;
CREATE FUNCTION storm_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO storm_audit (what, execution_id, detail) VALUES (TG_ARGV[0], OLD.execution_id, OLD::text);
    RETURN NULL;
END $$;
CREATE FUNCTION storm_flush() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF position('new_seq' IN current_query()) > 0 AND NOT EXISTS (SELECT FROM storm_written) THEN
        INSERT INTO storm_refused (client_port) VALUES (inet_client_port());
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER storm_terminal AFTER UPDATE ON executions FOR EACH ROW
    WHEN (OLD.status IN ({_among(TERMINAL)}) AND (OLD.status, OLD.epoch, OLD.last_seq, OLD.output_data::text)
        IS DISTINCT FROM (NEW.status, NEW.epoch, NEW.last_seq, NEW.output_data::text))
    EXECUTE FUNCTION storm_execution('a terminal execution was changed');
CREATE TRIGGER storm_back AFTER UPDATE ON executions FOR EACH ROW
    WHEN (NEW.epoch < OLD.epoch OR NEW.last_seq < OLD.last_seq)
    EXECUTE FUNCTION storm_execution('an epoch or an event number went back');
CREATE TRIGGER storm_flushed AFTER UPDATE ON executions REFERENCING NEW TABLE AS storm_written FOR EACH STATEMENT
    EXECUTE FUNCTION storm_flush();
CREATE TRIGGER storm_result AFTER UPDATE ON node_executions FOR EACH ROW
    WHEN (OLD.status IN ({_among(SETTLED)})) EXECUTE FUNCTION storm_row('a result was written twice');
CREATE TRIGGER storm_decision AFTER UPDATE ON hitl_requests FOR EACH ROW
    WHEN (OLD.status <> 'pending') EXECUTE FUNCTION storm_row('a decision was changed');
CREATE TRIGGER storm_event AFTER UPDATE ON stream_events FOR EACH ROW
    EXECUTE FUNCTION storm_row('an event was changed');
"""


@dataclass(frozen=True, slots=True)
class Audited:
    """Something that must never have been written."""

    what: str
    execution_id: str
    detail: str


def install(dsn: str) -> None:
    """Begin to watch."""
    with psycopg.connect(dsn) as connection:
        connection.execute(INSTALL)


def findings(dsn: str) -> list[Audited]:
    """Return what the triggers have seen that must not be."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT what, execution_id::text, detail FROM storm_audit ORDER BY id").fetchall()
    return [Audited(*row) for row in rows]


def refused_flushes(dsn: str, client_ports: frozenset[int], since_s: float, until_s: float) -> int:
    """Return how many flushes over these connections were refused as a whole between two moments (Unix seconds)."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM storm_refused WHERE client_port = ANY(%s) "
            "AND at BETWEEN to_timestamp(%s) AND to_timestamp(%s)",
            (list(client_ports), since_s, until_s),
        ).fetchone()
    return int(row[0]) if row else 0
