"""The hot statements, as constant text: arrays joined by `unnest`, so that one prepared plan serves every batch size.

Rules that they keep. Ids reach a partitioned table only through a join with `unnest` or as one parameter: `= ANY(...)`
would visit every partition. Rows of a batch come sorted by key, so two batches never wait for each other in a circle. A
filter by what the fence returned is written `(x IN (SELECT …)) IS TRUE`: so it stays a hashed look-up, not a join.
Where rows are found by id, their status is compared with a column (`required`), not a constant: a constant would tempt
the planner to walk the partial index of all running or queued rows, of every month, instead.
"""

import re


def tight(text: str) -> str:
    """Return a statement without spaces that say nothing: psycopg keeps the translation of a text only below 4,096 characters.

    Not for statements with string literals that hold such spaces.
    """
    return re.sub(r" ?([,=(]) ?", r"\1", " ".join(text.split()))


LIVE_LEASE = "ended_at IS NULL AND expires_at > clock_timestamp() AND NOT draining"

ACCEPT = f"""
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(workspaces)s::uuid[], %(workflows)s::uuid[], %(definitions)s::json[], %(inputs)s::json[],
        %(nodes_total)s::int[], %(trigger_types)s::text[], %(triggered_by)s::uuid[], %(isolations)s::text[],
        %(priorities)s::smallint[], %(owners)s::uuid[], %(keys)s::text[], %(fingerprints)s::bytea[], %(input_refs)s::json[],
        %(versions)s::int[], %(expected)s::int[]
    ) WITH ORDINALITY AS t (id, workspace_id, workflow_id, definition, input, nodes_total, trigger_type, triggered_by,
        isolation, priority, owner, key, fingerprint, input_ref, wanted, expected, place)
), resolved AS MATERIALIZED (
    SELECT i.*, COALESCE(i.wanted, w.version) AS version, (i.expected <> w.version) IS TRUE AS outdated
    FROM input i LEFT JOIN workflows w
        ON w.id = i.workflow_id AND w.workspace_id = i.workspace_id AND w.status IN ('draft', 'active')
    WHERE i.workflow_id IS NULL OR w.id IS NOT NULL
), keyed AS (
    INSERT INTO idempotency_keys (workspace_id, key, fingerprint, execution_id)
    SELECT DISTINCT ON (workspace_id, key) workspace_id, key, fingerprint, id
    FROM resolved WHERE key IS NOT NULL AND NOT outdated ORDER BY workspace_id, key, place
    ON CONFLICT DO NOTHING
    RETURNING execution_id
), placed AS MATERIALIZED (
    SELECT r.*, l.id IS NOT NULL AND NOT EXISTS (
        SELECT FROM executions q WHERE q.status = 'queued' AND q.isolation = 'pooled' AND NOT q.held) AS pushed
    FROM resolved r LEFT JOIN leases l ON l.id = r.owner AND {LIVE_LEASE}
    WHERE NOT r.outdated AND (r.key IS NULL OR (r.id IN (SELECT execution_id FROM keyed)) IS TRUE)
), created AS (
    INSERT INTO executions (id, workspace_id, workflow_id, workflow_version, definition, input_data, input_ref, nodes_total,
        trigger_type, triggered_by, isolation, priority, status, owner, epoch, queued_at, claimed_at)
    SELECT id, workspace_id, workflow_id, version, definition, input, input_ref,
        nodes_total, trigger_type, triggered_by, isolation, priority,
        CASE WHEN pushed THEN 'running' ELSE 'queued' END, CASE WHEN pushed THEN owner END, pushed::int,
        clock_timestamp(), CASE WHEN pushed THEN clock_timestamp() END
    FROM placed ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING id, status, owner, workflow_version
)
SELECT i.place, r.id IS NOT NULL, c.id IS NOT NULL AND i.place = min(i.place) OVER (PARTITION BY i.id), c.status,
    c.owner, c.workflow_version, r.outdated
FROM input i LEFT JOIN resolved r ON r.place = i.place LEFT JOIN created c ON c.id = i.id
ORDER BY i.place
"""
"""Insert a batch; for each: whether its workflow was found and may be executed, whether it was inserted, as what, and whether
another version is current than the one that was expected."""

ACCEPTED_BEFORE = """
SELECT i.place, COALESCE(k.execution_id, i.id), k.fingerprint, e.status, e.owner, e.workflow_version
FROM unnest(%(places)s::int[], %(ids)s::uuid[], %(workspaces)s::uuid[], %(keys)s::text[])
    AS i (place, id, workspace_id, key)
LEFT JOIN idempotency_keys k ON k.workspace_id = i.workspace_id AND k.key = i.key
LEFT JOIN executions e ON e.id = COALESCE(k.execution_id, i.id) AND e.workspace_id = i.workspace_id
"""
"""What is stored under the keys, or else the ids, that could not be inserted."""

TAKEN = """
taken AS (
    UPDATE executions e SET status = 'running', owner = %(owner)s, epoch = e.epoch + 1, claimed_at = clock_timestamp(),
        losses = e.losses + CASE WHEN l.orphan THEN 1 ELSE 0 END,
        crashes = e.crashes
            + CASE WHEN l.orphan AND e.alone AND l.end_reason IN ('crashed', 'expired') THEN 1 ELSE 0 END,
        alone = false, wake_at = NULL, paused_at = NULL
    FROM locked l WHERE e.id = l.id
    RETURNING l.place, e.id, e.workspace_id, e.workflow_id, e.workflow_version, e.definition, e.input_data, e.epoch,
        e.last_seq, e.losses, e.crashes, e.isolation, e.input_ref, e.depth, e.deadline_at, e.priority, e.triggered_by, e.trigger_type,
        e.concurrency_key, e.held, CASE WHEN e.parent_node_id <> '' THEN e.parent_execution_id END AS parent
)
"""

CLAIMED_COLUMNS = """
SELECT t.id, t.workspace_id, t.workflow_id, t.workflow_version, COALESCE(v.name, t.definition ->> 'name', ''),
    COALESCE(t.definition::text, json_build_object('name', v.name, 'nodes', v.nodes, 'connections', v.connections,
        'settings', v.settings)::text),
    t.input_data::text, t.epoch, t.last_seq, t.losses, t.crashes, t.isolation,
    t.input_ref::text, t.depth, (extract(epoch FROM t.deadline_at) * 1000)::bigint, t.priority, t.triggered_by, t.parent, t.trigger_type,
    t.concurrency_key, t.held,
    EXISTS (SELECT FROM signals s WHERE s.execution_id = t.id AND s.read_at IS NULL)
"""
VERSION_OF_TAKEN = "LEFT JOIN workflow_versions v ON v.workflow_id = t.workflow_id AND v.version = t.workflow_version"

RELEASED = """(NOT e.held OR EXISTS (
        SELECT FROM signals s WHERE s.execution_id = e.id AND s.read_at IS NULL AND s.kind = 'cancel'))"""
"""What a concurrency key holds is claimed only to be stopped; it stays held then, for it never was under way."""

AWAKE = """e.status IN ('waiting', 'paused') AND (e.wake_at <= statement_timestamp() OR EXISTS (
        SELECT FROM signals s WHERE s.execution_id = e.id AND s.read_at IS NULL
            AND (s.kind <> 'wake' OR e.status = 'waiting')))"""

CLAIM = f"""
WITH RECURSIVE me AS MATERIALIZED (
    SELECT 'queued' AS required, 'waiting' AS waiting, 'paused' AS paused FROM leases WHERE id = %(owner)s AND {LIVE_LEASE}
), owners (owner) AS (
    SELECT (SELECT e.owner FROM executions e WHERE e.status = 'running' ORDER BY e.owner LIMIT 1) FROM me
    UNION ALL
    SELECT (SELECT e.owner FROM executions e WHERE e.status = 'running' AND e.owner > o.owner ORDER BY e.owner LIMIT 1)
    FROM owners o WHERE o.owner IS NOT NULL
), orphans AS (
    SELECT e.id, o.owner, l.end_reason
    FROM owners o LEFT JOIN leases l ON l.id = o.owner
    CROSS JOIN LATERAL (
        SELECT e.id FROM executions e WHERE e.status = 'running' AND e.isolation = 'pooled' AND e.owner = o.owner
        ORDER BY e.id LIMIT %(window)s
    ) e
    WHERE o.owner IS NOT NULL
        AND (l.id IS NULL OR l.ended_at <= clock_timestamp() - %(grace_ms)s::bigint * interval '1 millisecond')
), signalled AS (
    SELECT DISTINCT ON (e.id) e.id, e.priority
    FROM me CROSS JOIN signals s JOIN executions e ON e.id = s.execution_id
    WHERE s.read_at IS NULL AND s.kind <> 'wake' AND e.isolation = 'pooled' AND (e.status IN (me.waiting, me.paused)
        OR e.status = me.required AND (NOT e.held OR s.kind = 'cancel'))
    ORDER BY e.id LIMIT %(window)s
), timed AS MATERIALIZED (
    SELECT e.id, e.workspace_id, e.priority, e.deadline_at <= statement_timestamp() AS over FROM me CROSS JOIN LATERAL (
        SELECT * FROM executions w WHERE w.wake_at <= statement_timestamp() AND w.isolation = 'pooled'
        ORDER BY w.wake_at LIMIT %(window)s
    ) e
), due AS (
    SELECT d.* FROM (
        SELECT id, workspace_id, priority FROM timed WHERE over IS NOT TRUE
        UNION
        (SELECT e.id, e.workspace_id, e.priority
        FROM me CROSS JOIN signals s JOIN executions e ON e.id = s.execution_id
        WHERE s.read_at IS NULL AND s.kind = 'wake' AND e.isolation = 'pooled' AND e.status = me.waiting
        LIMIT %(window)s)
    ) d WHERE (d.id IN (SELECT id FROM signalled)) IS NOT TRUE AND (d.id IN (SELECT id FROM timed WHERE over)) IS NOT TRUE
), later (workspace_id, ring) AS (
    SELECT (SELECT e.workspace_id FROM executions e WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held
        AND e.workspace_id > %(after)s ORDER BY e.workspace_id LIMIT 1), 1 FROM me
    UNION ALL
    SELECT (SELECT e.workspace_id FROM executions e WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held
        AND e.workspace_id > s.workspace_id ORDER BY e.workspace_id LIMIT 1), s.ring + 1
    FROM later s WHERE s.workspace_id IS NOT NULL AND s.ring < %(spaces)s
), earlier (workspace_id, ring) AS (
    SELECT (SELECT e.workspace_id FROM executions e WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held
        AND e.workspace_id <= %(after)s ORDER BY e.workspace_id LIMIT 1), %(spaces)s + 1 FROM me
    UNION ALL
    SELECT (SELECT e.workspace_id FROM executions e WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held
        AND e.workspace_id > s.workspace_id AND e.workspace_id <= %(after)s ORDER BY e.workspace_id LIMIT 1), s.ring + 1
    FROM earlier s WHERE s.workspace_id IS NOT NULL AND s.ring < 2 * %(spaces)s
), spaces AS MATERIALIZED (
    SELECT * FROM later WHERE workspace_id IS NOT NULL
    UNION ALL SELECT * FROM earlier WHERE workspace_id IS NOT NULL
), fair AS (
    SELECT q.id, s.workspace_id, q.priority, s.ring
    FROM spaces s CROSS JOIN LATERAL (
        SELECT e.id, e.priority FROM executions e
        WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held AND e.workspace_id = s.workspace_id
        ORDER BY e.priority DESC, e.id LIMIT (SELECT GREATEST(%(window)s / count(*), %(limit)s) FROM spaces)
    ) q
), shares AS MATERIALIZED (
    SELECT * FROM unnest(%(share_spaces)s::uuid[], %(share_held)s::int[], %(share_ahead_ms)s::float8[],
        %(share_cost_ms)s::float8[]) AS h (workspace_id, held, ahead_ms, cost_ms)
), numbered AS (
    SELECT m.*, row_number() OVER (PARTITION BY m.workspace_id ORDER BY m.priority DESC, m.id) - 1 AS before FROM (
        SELECT id, workspace_id, priority, 0 AS ring FROM due
        UNION ALL SELECT id, workspace_id, priority, ring FROM fair WHERE (id IN (SELECT id FROM signalled)) IS NOT TRUE
    ) m
), turns AS (
    SELECT n.id, n.priority, n.ring, COALESCE(h.held, 0) + n.before AS slots,
        COALESCE(h.ahead_ms, 0) + n.before * COALESCE(h.cost_ms, (SELECT avg(cost_ms) FROM shares), 1) AS used_ms
    FROM numbered n LEFT JOIN shares h ON h.workspace_id = n.workspace_id
), candidates AS MATERIALIZED (
    SELECT c.*, row_number() OVER (ORDER BY tier, slots, used_ms, priority DESC, ring, id) AS place FROM (
        SELECT id, true AS orphan, owner, end_reason, 0 AS tier, 0 AS slots, 0 AS used_ms, 0 AS priority, 0 AS ring
        FROM orphans
        UNION ALL SELECT id, false, NULL, NULL, 1, 0, 0, priority, 0 FROM signalled
        UNION ALL SELECT id, false, NULL, NULL, 1, 0, 0, priority, 0 FROM timed
            WHERE over AND (id IN (SELECT id FROM signalled)) IS NOT TRUE
        UNION ALL SELECT id, false, NULL, NULL, 2, slots, used_ms, priority, ring FROM turns
    ) c
    ORDER BY place LIMIT %(window)s
), locked AS MATERIALIZED (
    SELECT c.place, c.orphan, c.end_reason, e.id
    FROM candidates c JOIN executions e ON e.id = c.id
    WHERE CASE WHEN c.orphan THEN e.status = 'running' AND e.owner = c.owner ELSE e.status IN ('queued', 'waiting', 'paused') END
    ORDER BY c.place LIMIT %(limit)s
    FOR NO KEY UPDATE OF e SKIP LOCKED
), {TAKEN}
{CLAIMED_COLUMNS}
FROM taken t {VERSION_OF_TAKEN} ORDER BY t.place
"""
"""Take orphans, then what people want to stop, pause or resume and what rests and has no time left, then in turns between
workspaces, by priority within each.

A turn goes to the workspace that holds the fewest slots of the owner, counted with what this claim gives it before; among these
to the one that has used slots least. What waits and whose time has come, or that was woken, has its turn beside what is queued.

Owners and workspaces are found by a loose index scan: one probe for each, however many rows they have. The candidates
are a window several times the limit and are locked one by one, skipping what another claimer has locked, until the
limit is reached: so claimers at the same time share the queue. `after` is where the last claim stopped in the ring.
"""

CLAIM_ONE = f"""
WITH locked AS MATERIALIZED (
    SELECT 1 AS place, e.status = 'running' AS orphan, l.end_reason, e.id
    FROM executions e LEFT JOIN leases l ON l.id = e.owner
    WHERE e.id = %(id)s AND EXISTS (SELECT FROM leases WHERE id = %(owner)s AND {LIVE_LEASE})
        AND (e.status = 'queued' AND {RELEASED} OR e.status = 'running' AND (l.id IS NULL OR l.ended_at IS NOT NULL)
            OR {AWAKE})
    FOR NO KEY UPDATE OF e SKIP LOCKED
), {TAKEN}
{CLAIMED_COLUMNS}
FROM taken t {VERSION_OF_TAKEN}
"""

READ_OWNED = f"""
{CLAIMED_COLUMNS}
FROM (
    SELECT *, CASE WHEN parent_node_id <> '' THEN parent_execution_id END AS parent FROM executions
) t {VERSION_OF_TAKEN}
WHERE t.id = %(id)s AND t.owner = %(owner)s AND t.status = 'running'
"""

CLAIMABLE_DEDICATED = f"""
SELECT e.id FROM executions e LEFT JOIN leases l ON l.id = e.owner
WHERE e.isolation = 'dedicated' AND e.status IN ('queued', 'running', 'waiting', 'paused')
    AND (e.status = 'queued' AND {RELEASED} OR e.status = 'running' AND (l.id IS NULL OR l.ended_at IS NOT NULL)
        OR {AWAKE})
ORDER BY e.status = 'running' DESC, e.priority DESC, e.id LIMIT %(limit)s
"""

ENDING_AT_REST = """
WITH stopped AS MATERIALIZED (
    SELECT e.id, min(s.id::text) AS wish FROM signals s JOIN executions e ON e.id = s.execution_id
    WHERE s.read_at IS NULL AND s.kind = 'cancel' AND e.status IN ('queued', 'waiting', 'paused') AND e.isolation = 'pooled'
    GROUP BY e.id ORDER BY wish LIMIT %(limit)s
), over AS (
    SELECT id, deadline_at FROM executions
    WHERE wake_at <= statement_timestamp() AND deadline_at <= statement_timestamp() AND isolation = 'pooled'
    ORDER BY deadline_at LIMIT %(limit)s
)
SELECT id FROM (
    SELECT id, wish, NULL::timestamptz AS deadline_at FROM stopped
    UNION ALL SELECT id, NULL, deadline_at FROM over WHERE (id IN (SELECT id FROM stopped)) IS NOT TRUE
) e ORDER BY wish NULLS LAST, deadline_at
"""
"""Wishes come first, the oldest of them before the others; then what has been without time for longest."""

NOTE_DEADLINES = """
UPDATE executions e SET deadline_at = to_timestamp(v.deadline_ms / 1000.0)
FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[], %(deadlines_ms)s::bigint[]) AS v (id, epoch, deadline_ms)
WHERE e.id = v.id AND e.epoch = v.epoch
"""
"""Keep until when executions have time, before they are let go: a fact, which may be written again."""

STARVED = """
WITH RECURSIVE me AS MATERIALIZED (SELECT 'waiting' AS waiting), spaces (workspace_id, ring) AS (
    SELECT (SELECT e.workspace_id FROM executions e WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held
        ORDER BY e.workspace_id LIMIT 1), 1
    UNION ALL
    SELECT (SELECT e.workspace_id FROM executions e WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held
        AND e.workspace_id > s.workspace_id ORDER BY e.workspace_id LIMIT 1), s.ring + 1
    FROM spaces s WHERE s.workspace_id IS NOT NULL AND s.ring < %(spaces)s
), found AS (
    SELECT q.* FROM spaces s CROSS JOIN LATERAL (
        SELECT e.id, e.workspace_id, e.priority FROM executions e
        WHERE e.status = 'queued' AND e.isolation = 'pooled' AND NOT e.held AND e.workspace_id = s.workspace_id
        ORDER BY e.priority DESC, e.id LIMIT 1
    ) q
    UNION ALL
    (SELECT e.id, e.workspace_id, e.priority FROM executions e
    WHERE e.wake_at <= statement_timestamp() AND e.isolation = 'pooled' ORDER BY e.wake_at LIMIT %(window)s)
    UNION ALL
    (SELECT e.id, e.workspace_id, e.priority FROM me CROSS JOIN signals s JOIN executions e ON e.id = s.execution_id
    WHERE s.read_at IS NULL AND s.kind = 'wake' AND e.isolation = 'pooled' AND e.status = me.waiting LIMIT %(window)s)
)
SELECT f.id FROM (
    SELECT DISTINCT ON (workspace_id) id FROM found WHERE workspace_id <> ALL(%(busy)s::uuid[])
    ORDER BY workspace_id, priority DESC, id
) f ORDER BY f.id LIMIT %(limit)s
"""
"""One execution each of workspaces that are not busy here, the oldest ones."""

FLUSH = tight(
    """
WITH parts AS MATERIALIZED (
    SELECT *, 'running' AS required FROM unnest(
        %(ids)s::uuid[], %(epochs)s::bigint[], %(last_seqs)s::bigint[], %(new_seqs)s::bigint[], %(statuses)s::text[],
        %(outputs)s::json[], %(error_codes)s::text[], %(error_messages)s::text[], %(error_nodes)s::text[],
        %(completed_ms)s::bigint[], %(started_ms)s::bigint[], %(nodes_completed)s::int[], %(shared)s::text[],
        %(output_refs)s::json[], %(wake_ms)s::float8[]
    ) AS t (id, epoch, last_seq, new_seq, status, output, code, message, node, completed_ms,
        started_ms, nodes_completed, shared, output_ref, wake_ms)
), fenced AS (
    UPDATE executions e SET last_seq = p.new_seq, alone = false, losses = 0,
        owner = CASE WHEN p.wake_ms IS NULL THEN e.owner END,
        wake_at = to_timestamp(p.wake_ms / 1000),
        paused_at = CASE WHEN p.status = 'paused' THEN now() END,
        status = COALESCE(p.status, e.status),
        output_data = CASE WHEN p.status IS NULL THEN e.output_data ELSE p.output END,
        output_ref = p.output_ref,
        error_code = COALESCE(p.code, e.error_code),
        error_message = COALESCE(p.message, e.error_message),
        error_node_id = COALESCE(p.node, e.error_node_id),
        completed_at = COALESCE(to_timestamp(p.completed_ms / 1000.0), e.completed_at),
        shared = COALESCE(p.shared::boolean, e.shared),
        started_at = COALESCE(e.started_at, to_timestamp(p.started_ms / 1000.0)),
        nodes_completed = GREATEST(e.nodes_completed, p.nodes_completed)
    FROM parts p
    WHERE e.id = p.id AND e.epoch = p.epoch AND e.last_seq = p.last_seq AND e.status = p.required
    RETURNING e.id, p.completed_ms IS NOT NULL AS ended
), events AS (
    INSERT INTO stream_events (execution_id, seq, kind, at, node_id, body)
    SELECT v.execution_id, v.seq, v.kind, to_timestamp(v.at_ms / 1000.0), v.node_id, v.body
    FROM unnest(%(event_ids)s::uuid[], %(event_seqs)s::bigint[], %(event_kinds)s::text[], %(event_at_ms)s::bigint[],
        %(event_nodes)s::text[], %(event_bodies)s::json[]) AS v (execution_id, seq, kind, at_ms, node_id, body)
    WHERE (v.execution_id IN (SELECT id FROM fenced)) IS TRUE
), results AS (
    INSERT INTO node_executions AS n (execution_id, node_id, run_index, written, node_type, node_name, status, attempt,
        output_data, output_ref, error_code, error_message, started_at, completed_at, duration_ms, logs, placement, pid,
        host, gpu_ids)
    SELECT v.execution_id, v.node_id, v.run_index, v.written, v.node_type, v.node_name, v.status, v.attempt,
        v.output, v.output_ref, v.code, v.message, to_timestamp(v.started_ms / 1000.0),
        to_timestamp(v.completed_ms / 1000.0), v.duration_ms, v.logs, v.placement, v.pid, v.host, v.gpus
    FROM unnest(%(node_ids)s::uuid[], %(node_node_ids)s::text[], %(node_runs)s::int[], %(node_written)s::bigint[],
        %(node_types)s::text[], %(node_names)s::text[], %(node_statuses)s::text[], %(node_attempts)s::int[],
        %(node_outputs)s::json[], %(node_codes)s::text[], %(node_messages)s::text[],
        %(node_starts_ms)s::bigint[], %(node_ends_ms)s::bigint[], %(node_durations)s::float8[],
        %(node_logs)s::text[], %(node_places)s::text[], %(node_pids)s::int[], %(node_hosts)s::text[],
        %(node_refs)s::json[], %(node_gpus)s::text[])
        AS v (execution_id, node_id, run_index, written, node_type, node_name, status, attempt, output, code,
            message, started_ms, completed_ms, duration_ms, logs, placement, pid, host, output_ref, gpus)
    WHERE (v.execution_id IN (SELECT id FROM fenced)) IS TRUE
    ON CONFLICT (execution_id, node_id, run_index) DO UPDATE SET written = EXCLUDED.written,
        status = EXCLUDED.status, attempt = EXCLUDED.attempt, output_data = EXCLUDED.output_data,
        output_ref = EXCLUDED.output_ref, error_code = EXCLUDED.error_code,
        error_message = EXCLUDED.error_message, started_at = EXCLUDED.started_at, completed_at = EXCLUDED.completed_at,
        duration_ms = EXCLUDED.duration_ms, logs = EXCLUDED.logs, placement = EXCLUDED.placement, pid = EXCLUDED.pid,
        host = EXCLUDED.host, gpu_ids = EXCLUDED.gpu_ids
    WHERE n.status IN ('pending', 'running', 'waiting')
), heard AS (
    UPDATE signals s SET read_at = clock_timestamp()
    FROM unnest(%(signal_ids)s::uuid[], %(signal_of)s::uuid[]) AS v (id, execution_id)
    WHERE s.id = v.id AND s.execution_id = v.execution_id AND (v.execution_id IN (SELECT id FROM fenced)) IS TRUE
), moot AS (
    UPDATE signals s SET read_at = clock_timestamp()
    FROM fenced f
    WHERE f.ended AND s.execution_id = f.id AND s.read_at IS NULL
        AND (s.id IN (SELECT unnest(%(signal_ids)s::uuid[]))) IS NOT TRUE
)
SELECT id FROM fenced
"""
)
"""Write all parts whose epoch and last_seq are the current ones, and nothing of the others; return the former's ids."""

STANDING = """
SELECT e.id, e.epoch, e.last_seq
FROM unnest(%(ids)s::uuid[]) AS v (id) JOIN executions e ON e.id = v.id
"""
