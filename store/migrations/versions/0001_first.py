"""The first tables: accounts, workflows, executions with their events, results, signals and leases.

Executions, node executions and events carry no foreign keys: their rows are written on the hot path, where a key check
would lock the one workspace's row for every insert; the statements that write them check what they name.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ACCOUNTS = """
CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (length(email) BETWEEN 3 AND 255),
    password_hash text NOT NULL,
    first_name text NOT NULL DEFAULT '' CHECK (length(first_name) <= 100),
    last_name text NOT NULL DEFAULT '' CHECK (length(last_name) <= 100),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    email_verified boolean NOT NULL DEFAULT false,
    mfa_enabled boolean NOT NULL DEFAULT false,
    mfa_secret text,
    tier text NOT NULL DEFAULT 'free' CHECK (tier IN ('free', 'pro', 'enterprise')),
    compile_limit integer,
    execute_limit integer,
    stream_connections integer,
    credits_remaining bigint NOT NULL DEFAULT 0,
    credits_used_total bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TABLE workspaces (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL REFERENCES users (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    slug text NOT NULL UNIQUE CHECK (length(slug) BETWEEN 1 AND 100),
    plan_id text NOT NULL DEFAULT 'free',
    stripe_customer_id text,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workspace_members (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    user_id uuid NOT NULL REFERENCES users (id),
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, user_id)
);
CREATE INDEX workspace_members_user ON workspace_members (user_id);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    key_prefix text NOT NULL,
    key_hash bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    scopes text[] NOT NULL DEFAULT '{}',
    last_used_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE INDEX api_keys_workspace ON api_keys (workspace_id, id);
"""

WORKFLOWS = """
CREATE TABLE workflows (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    created_by uuid REFERENCES users (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    slug text NOT NULL,
    description text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'paused', 'archived')),
    version integer NOT NULL CHECK (version >= 1),
    nodes json NOT NULL,
    connections json NOT NULL,
    settings json NOT NULL DEFAULT '{}',
    viewport json NOT NULL DEFAULT '{}',
    input_schema json NOT NULL DEFAULT '{}',
    tags text[] NOT NULL DEFAULT '{}',
    is_template boolean NOT NULL DEFAULT false,
    execution_count bigint NOT NULL DEFAULT 0,
    last_executed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, slug)
);
CREATE INDEX workflows_workspace ON workflows (workspace_id, id);
CREATE INDEX workflows_tags ON workflows USING gin (tags);

CREATE TABLE workflow_versions (
    id uuid PRIMARY KEY,
    workflow_id uuid NOT NULL REFERENCES workflows (id),
    version integer NOT NULL,
    name text NOT NULL,
    nodes json NOT NULL,
    connections json NOT NULL,
    settings json NOT NULL DEFAULT '{}',
    input_schema json NOT NULL DEFAULT '{}',
    created_by uuid REFERENCES users (id),
    change_message text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workflow_id, version)
);
"""

EXECUTIONS = """
CREATE TABLE executions (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    workflow_id uuid,
    workflow_version integer,
    definition json,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    trigger_type text NOT NULL,
    trigger_data json,
    triggered_by uuid,
    isolation text NOT NULL DEFAULT 'pooled' CHECK (isolation IN ('pooled', 'dedicated')),
    priority smallint NOT NULL DEFAULT 5,
    owner uuid,
    epoch bigint NOT NULL DEFAULT 0,
    last_seq bigint NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    alone boolean NOT NULL DEFAULT false,
    input_data json NOT NULL,
    output_data json,
    error_code text NOT NULL DEFAULT '',
    error_message text NOT NULL DEFAULT '',
    error_node_id text NOT NULL DEFAULT '',
    shared boolean,
    queued_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    nodes_total integer NOT NULL DEFAULT 0,
    nodes_completed integer NOT NULL DEFAULT 0,
    retry_count integer NOT NULL DEFAULT 0,
    parent_execution_id uuid,
    tokens_used bigint NOT NULL DEFAULT 0,
    credits_used bigint NOT NULL DEFAULT 0,
    CHECK (workflow_version IS NOT NULL OR definition IS NOT NULL),
    CHECK (status <> 'running' OR owner IS NOT NULL)
) PARTITION BY RANGE (id);
CREATE INDEX executions_queue ON executions (workspace_id, priority DESC, id)
    WHERE status = 'queued' AND isolation = 'pooled';
CREATE INDEX executions_owner ON executions (owner, id) WHERE status = 'running';
CREATE INDEX executions_dedicated ON executions (id)
    WHERE isolation = 'dedicated' AND status IN ('queued', 'running');
CREATE INDEX executions_workspace ON executions (workspace_id, id);
CREATE INDEX executions_workflow ON executions (workflow_id, id);

CREATE FUNCTION refuse_change_of_terminal_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'execution % is % for ever, it cannot become %', OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER executions_terminal BEFORE UPDATE OF status ON executions FOR EACH ROW
    WHEN (OLD.status IN ('completed', 'failed', 'cancelled') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION refuse_change_of_terminal_status();

CREATE TABLE node_executions (
    execution_id uuid NOT NULL,
    node_id text NOT NULL,
    run_index integer NOT NULL,
    written bigint NOT NULL,
    node_type text NOT NULL,
    node_name text NOT NULL,
    status text NOT NULL
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'skipped', 'cancelled')),
    attempt integer NOT NULL,
    output_data json,
    error_code text NOT NULL DEFAULT '',
    error_message text NOT NULL DEFAULT '',
    started_at timestamptz,
    completed_at timestamptz,
    duration_ms double precision,
    logs text NOT NULL DEFAULT '',
    placement text NOT NULL DEFAULT '',
    pid integer,
    host text NOT NULL DEFAULT '',
    PRIMARY KEY (execution_id, node_id, run_index)
) PARTITION BY RANGE (execution_id);

CREATE TABLE stream_events (
    execution_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    kind text NOT NULL,
    at timestamptz NOT NULL,
    node_id text NOT NULL DEFAULT '',
    body json NOT NULL,
    PRIMARY KEY (execution_id, seq)
) PARTITION BY RANGE (execution_id);
"""

OWNERSHIP = """
CREATE TABLE signals (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('cancel')),
    body json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    read_at timestamptz
);
CREATE UNIQUE INDEX signals_unread ON signals (execution_id, kind) WHERE read_at IS NULL;

CREATE TABLE leases (
    id uuid PRIMARY KEY,
    cluster_id text NOT NULL,
    actor_id text NOT NULL,
    actor_name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    slots integer NOT NULL CHECK (slots >= 1),
    dedicated_to uuid,
    draining boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text CHECK (end_reason IN ('crashed', 'expired', 'supervisor', 'released')),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX leases_unended ON leases (cluster_id) WHERE ended_at IS NULL;
CREATE INDEX leases_ended ON leases (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE idempotency_keys (
    workspace_id uuid NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL,
    execution_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
"""


def upgrade() -> None:
    """Make the tables; `store.partitions` makes their months."""
    for statements in (ACCOUNTS, WORKFLOWS, EXECUTIONS, OWNERSHIP):
        op.execute(statements)


def downgrade() -> None:
    """Refuse: going back would mean dropping everything."""
    raise RuntimeError("before the first revision there is nothing to go back to")
