"""The statements that make an execution of a former one, as constant text."""

from store.literals import ENDED, quoted
from workflow.lifecycle import EXECUTABLE

FORMER = """
SELECT e.status, e.workflow_id, e.workflow_version, e.trigger_type, e.priority, e.isolation, e.retry_count,
    e.input_data::text, e.input_ref::text, e.definition::text,
    json_build_object('name', v.name, 'nodes', v.nodes, 'connections', v.connections, 'settings', v.settings,
        'input_schema', v.input_schema)::text,
    v.version IS NOT NULL
FROM executions e LEFT JOIN workflow_versions v ON v.workflow_id = e.workflow_id AND v.version = e.workflow_version
WHERE e.id = %(id)s AND e.workspace_id = %(workspace)s
"""

STORED_RUNS = """
SELECT node_id, run_index FROM node_executions
WHERE execution_id = %(id)s AND (status = 'completed' AND (output_data IS NOT NULL OR output_ref IS NOT NULL) OR status = 'failed')
"""

LAST_COMPLETED = """
SELECT e.id FROM (
    SELECT id FROM executions WHERE workflow_id = %(workflow)s AND workspace_id = %(workspace)s AND status = 'completed'
        AND trigger_type <> %(trigger_type)s
    ORDER BY id DESC LIMIT %(looked_at)s
) e WHERE EXISTS (SELECT FROM unnest(%(nodes)s::text[]) AS v (node_id) CROSS JOIN LATERAL (
        SELECT FROM node_executions o WHERE o.execution_id = e.id AND o.node_id = v.node_id AND o.status = 'completed' LIMIT 1
    ) n)
ORDER BY e.id DESC LIMIT 1
"""

INSERT = f"""
WITH former AS MATERIALIZED (
    SELECT id, workspace_id, workflow_id, definition, input_data, input_ref, concurrency_key, concurrency_limit
    FROM executions
    WHERE id = %(former)s AND workspace_id = %(workspace)s
        AND status IN ({ENDED})
    FOR KEY SHARE
), resolved AS MATERIALIZED (
    SELECT f.*, w.status AS workflow_status FROM former f LEFT JOIN workflows w ON w.id = f.workflow_id
), fit AS MATERIALIZED (
    SELECT * FROM resolved
    WHERE workflow_id IS NULL OR workflow_status IN ({quoted(EXECUTABLE)})
), keyed AS (
    INSERT INTO idempotency_keys (workspace_id, key, fingerprint, execution_id)
    SELECT workspace_id, %(key)s::text, %(fingerprint)s::bytea, %(id)s FROM fit WHERE %(key)s::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING execution_id
), created AS (
    INSERT INTO executions (id, workspace_id, workflow_id, workflow_version, definition, input_data, input_ref, nodes_total,
        nodes_completed, trigger_type, triggered_by, isolation, priority, status, epoch, last_seq, queued_at,
        parent_execution_id, retry_count, concurrency_key, concurrency_limit, held)
    SELECT %(id)s, f.workspace_id, f.workflow_id, %(version)s::int, COALESCE(%(definition)s::json, f.definition),
        COALESCE(%(input)s::json, f.input_data), CASE WHEN %(input)s::json IS NULL THEN f.input_ref ELSE %(input_ref)s::json END,
        %(nodes_total)s, %(nodes_completed)s, %(trigger_type)s, %(triggered_by)s::uuid, %(isolation)s, %(priority)s, 'queued', 0,
        %(last_seq)s, clock_timestamp(), f.id, %(retry_count)s,
        CASE WHEN %(rekeyed)s THEN %(concurrency_key)s::text ELSE f.concurrency_key END,
        CASE WHEN %(rekeyed)s THEN %(concurrency_limit)s::int ELSE f.concurrency_limit END,
        CASE WHEN %(rekeyed)s THEN %(concurrency_key)s::text ELSE f.concurrency_key END <> ''
    FROM fit f WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM keyed)
    ON CONFLICT DO NOTHING
    RETURNING id, workspace_id, input_ref, workflow_version
), events AS (
    INSERT INTO stream_events (execution_id, seq, kind, at, node_id, body)
    SELECT c.id, v.seq, v.kind, to_timestamp(v.at_ms / 1000.0), v.node_id, v.body
    FROM created c CROSS JOIN unnest(%(event_seqs)s::bigint[], %(event_kinds)s::text[], %(event_at_ms)s::bigint[],
        %(event_nodes)s::text[], %(event_bodies)s::json[]) AS v (seq, kind, at_ms, node_id, body)
), kept AS MATERIALIZED (
    SELECT c.id, c.workspace_id, v.run_index AS new_index, v.written AS new_written, n.*
    FROM created c CROSS JOIN unnest(%(kept_nodes)s::text[], %(kept_former)s::int[], %(kept_runs)s::int[],
        %(kept_written)s::bigint[]) AS v (node_id, former_index, run_index, written)
    CROSS JOIN LATERAL (
        SELECT * FROM node_executions o
        WHERE o.execution_id = %(former)s AND o.node_id = v.node_id AND o.run_index = v.former_index OFFSET 0
    ) n
), copied AS (
    INSERT INTO node_executions (execution_id, node_id, run_index, written, node_type, node_name, status, attempt,
        output_data, output_ref, error_code, error_message, started_at, completed_at, duration_ms, logs, placement, pid,
        host)
    SELECT id, node_id, new_index, new_written, node_type, node_name, status, attempt, output_data, output_ref, error_code,
        error_message, started_at, completed_at, duration_ms, logs, placement, pid, host
    FROM kept
    RETURNING node_id
), skipped AS (
    INSERT INTO node_executions (execution_id, node_id, run_index, written, node_type, node_name, status, attempt)
    SELECT c.id, v.node_id, v.run_index, v.written, v.node_type, v.node_name, 'skipped', 0
    FROM created c CROSS JOIN unnest(%(skipped_nodes)s::text[], %(skipped_runs)s::int[], %(skipped_written)s::bigint[],
        %(skipped_types)s::text[], %(skipped_names)s::text[]) AS v (node_id, run_index, written, node_type, node_name)
), named AS (
    INSERT INTO blob_references (execution_id, sha256, workspace_id)
    SELECT id, decode(output_ref ->> 'sha256', 'hex'), workspace_id FROM kept WHERE output_ref IS NOT NULL
    UNION
    SELECT id, decode(input_ref ->> 'sha256', 'hex'), workspace_id FROM created WHERE input_ref IS NOT NULL
    ON CONFLICT DO NOTHING
)
SELECT r.workflow_status, f.id IS NOT NULL, c.id IS NOT NULL, (SELECT count(*) FROM copied), c.workflow_version
FROM resolved r LEFT JOIN fit f ON true LEFT JOIN created c ON true
"""
"""Insert an execution with its history and its copies of results: all of it, or where it does not apply nothing."""
