"""Executions that wait, pause and have children; what they ask people; who did what.

The trigger is how a child's end reaches its parent: a signal in the transaction that ends the child. It reads the
parent's row but never locks it, so that a parent that cancels its children cannot wait for them in a circle.

Wake-ups are never left out because one is unread already: that one may be marked read, and what it is about looked up,
before the transaction that left the second one out has committed. (Seen: a parent that waited for ever.)
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ENDS = "'completed', 'failed', 'cancelled', 'timeout'"

EXECUTIONS = f"""
ALTER TABLE executions
    ADD COLUMN wake_at timestamptz,
    ADD COLUMN deadline_at timestamptz,
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN parent_node_id text NOT NULL DEFAULT '',
    ADD COLUMN parent_run_index integer NOT NULL DEFAULT 0,
    ADD COLUMN parent_place integer NOT NULL DEFAULT 0,
    ADD COLUMN depth smallint NOT NULL DEFAULT 0,
    ADD COLUMN concurrency_key text NOT NULL DEFAULT '',
    ADD COLUMN held boolean NOT NULL DEFAULT false;
ALTER TABLE executions DROP CONSTRAINT executions_status_check;
ALTER TABLE executions ADD CONSTRAINT executions_status_check
    CHECK (status IN ('queued', 'running', 'waiting', 'paused', {ENDS}));
ALTER TABLE executions ADD CONSTRAINT executions_rest_unowned
    CHECK (status NOT IN ('waiting', 'paused') OR owner IS NULL AND wake_at IS NOT NULL);
CREATE INDEX executions_wake ON executions (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX executions_children ON executions (parent_execution_id) WHERE parent_execution_id IS NOT NULL;
DROP INDEX executions_dedicated;
CREATE INDEX executions_dedicated ON executions (id)
    WHERE isolation = 'dedicated' AND status IN ('queued', 'running', 'waiting', 'paused');
DROP INDEX executions_queue;
CREATE INDEX executions_queue ON executions (workspace_id, priority DESC, id)
    WHERE status = 'queued' AND isolation = 'pooled' AND NOT held;
ALTER TABLE node_executions DROP CONSTRAINT node_executions_status_check;
ALTER TABLE node_executions ADD CONSTRAINT node_executions_status_check
    CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'skipped', 'cancelled'));
"""

SIGNALS = """
ALTER TABLE signals ADD COLUMN node_id text NOT NULL DEFAULT '', ADD COLUMN run_index integer NOT NULL DEFAULT 0;
ALTER TABLE signals DROP CONSTRAINT signals_kind_check;
ALTER TABLE signals ADD CONSTRAINT signals_kind_check CHECK (kind IN ('cancel', 'pause', 'resume', 'wake'));
DROP INDEX signals_unread;
CREATE UNIQUE INDEX signals_unread ON signals (execution_id, kind) WHERE read_at IS NULL AND kind <> 'wake';
CREATE INDEX signals_wake ON signals (execution_id) WHERE read_at IS NULL AND kind = 'wake';
"""

CHILDREN = f"""
CREATE FUNCTION wake_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO signals (id, workspace_id, execution_id, kind, node_id, run_index, body)
    SELECT gen_random_uuid(), p.workspace_id, p.id, 'wake', NEW.parent_node_id, NEW.parent_run_index, '{{}}'
    FROM executions p
    WHERE p.id = NEW.parent_execution_id AND p.workspace_id = NEW.workspace_id AND p.status NOT IN ({ENDS});
    RETURN NULL;
END $$;
CREATE TRIGGER executions_child_ended AFTER UPDATE OF status ON executions FOR EACH ROW
    WHEN (NEW.parent_node_id <> '' AND NEW.status IN ({ENDS}) AND OLD.status <> NEW.status)
    EXECUTE FUNCTION wake_parent();
"""

REQUESTS = """
CREATE TABLE hitl_requests (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    workflow_id uuid,
    node_id text NOT NULL,
    run_index integer NOT NULL,
    ordinal integer NOT NULL DEFAULT 0,
    request_type text NOT NULL
        CHECK (request_type IN ('approval', 'clarification', 'error_recovery', 'form', 'webhook')),
    title text NOT NULL DEFAULT '',
    message text NOT NULL DEFAULT '',
    options json NOT NULL DEFAULT '[]',
    form_schema json NOT NULL DEFAULT '{}',
    context_data json NOT NULL DEFAULT '{}',
    allowed_roles text[] NOT NULL DEFAULT '{}',
    approvals_required smallint NOT NULL DEFAULT 1 CHECK (approvals_required BETWEEN 1 AND 100),
    answers json NOT NULL DEFAULT '[]',
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'approved', 'rejected', 'answered', 'timeout', 'cancelled')),
    response json,
    user_id uuid,
    timeout_seconds integer,
    auto_action text NOT NULL DEFAULT '',
    remind_after_seconds integer,
    escalate_after_seconds integer,
    escalate_to text NOT NULL DEFAULT '',
    token_hash bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    reminded_at timestamptz,
    escalated_at timestamptz,
    responded_at timestamptz,
    UNIQUE (execution_id, node_id, run_index, ordinal)
);
CREATE UNIQUE INDEX hitl_requests_token ON hitl_requests (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX hitl_requests_inbox ON hitl_requests (workspace_id, id) WHERE status = 'pending';
CREATE INDEX hitl_requests_workspace ON hitl_requests (workspace_id, id);

CREATE TABLE audit_entries (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    user_id uuid,
    workflow_id uuid,
    execution_id uuid,
    node_id text NOT NULL DEFAULT '',
    action_type text NOT NULL,
    request_details json NOT NULL DEFAULT '{}',
    response json,
    response_time_ms bigint,
    ip_address text NOT NULL DEFAULT '',
    user_agent text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_entries_workspace ON audit_entries (workspace_id, id);
CREATE INDEX audit_entries_created ON audit_entries (created_at);
"""

UNDONE = f"""
DROP TABLE audit_entries, hitl_requests;
DROP TRIGGER executions_child_ended ON executions;
DROP FUNCTION wake_parent();
DELETE FROM signals WHERE kind <> 'cancel';
DROP INDEX signals_wake, signals_unread;
ALTER TABLE signals DROP CONSTRAINT signals_kind_check;
ALTER TABLE signals ADD CONSTRAINT signals_kind_check CHECK (kind IN ('cancel'));
ALTER TABLE signals DROP COLUMN node_id, DROP COLUMN run_index;
CREATE UNIQUE INDEX signals_unread ON signals (execution_id, kind) WHERE read_at IS NULL;
DELETE FROM node_executions WHERE status = 'waiting';
ALTER TABLE node_executions DROP CONSTRAINT node_executions_status_check;
ALTER TABLE node_executions ADD CONSTRAINT node_executions_status_check
    CHECK (status IN ('pending', 'running', 'completed', 'failed', 'skipped', 'cancelled'));
DELETE FROM executions WHERE status IN ('waiting', 'paused');
DROP INDEX executions_dedicated;
CREATE INDEX executions_dedicated ON executions (id)
    WHERE isolation = 'dedicated' AND status IN ('queued', 'running');
DROP INDEX executions_queue;
CREATE INDEX executions_queue ON executions (workspace_id, priority DESC, id)
    WHERE status = 'queued' AND isolation = 'pooled';
DROP INDEX executions_children;
DROP INDEX executions_wake;
ALTER TABLE executions DROP CONSTRAINT executions_rest_unowned;
ALTER TABLE executions DROP CONSTRAINT executions_status_check;
ALTER TABLE executions ADD CONSTRAINT executions_status_check CHECK (status IN ('queued', 'running', {ENDS}));
ALTER TABLE executions DROP COLUMN wake_at, DROP COLUMN deadline_at, DROP COLUMN paused_at,
    DROP COLUMN parent_node_id, DROP COLUMN parent_run_index, DROP COLUMN parent_place,
    DROP COLUMN depth, DROP COLUMN concurrency_key,
    DROP COLUMN held;
"""


def upgrade() -> None:
    """Make the columns, tables and the trigger."""
    for part in (EXECUTIONS, SIGNALS, CHILDREN, REQUESTS):
        op.execute(part)


def downgrade() -> None:
    """Take them away again, and with them every execution that waits."""
    op.execute(UNDONE)
