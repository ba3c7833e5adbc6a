"""What models cost: results that are kept under their effect's key, calls as they were made, and usage by day."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE effect_results (
    execution_id uuid NOT NULL,
    key text NOT NULL,
    workspace_id uuid NOT NULL,
    result json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, key)
);
CREATE TABLE model_calls (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    execution_id uuid,
    workflow_id uuid,
    user_id uuid,
    node_id text NOT NULL DEFAULT '',
    run_index integer NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    kind text NOT NULL CHECK (kind IN ('embed', 'score', 'chat')),
    provider text NOT NULL DEFAULT '',
    model text NOT NULL,
    device text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    gpu_ids text[] NOT NULL DEFAULT '{}',
    batch_sizes integer[] NOT NULL DEFAULT '{}',
    prompt_tokens bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    estimated boolean NOT NULL DEFAULT false,
    cost_usd numeric(18, 10),
    duration_ms double precision NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX model_calls_execution ON model_calls (execution_id, id);
CREATE INDEX model_calls_workspace ON model_calls (workspace_id, created_at);
CREATE TABLE usage_tracking (
    workspace_id uuid NOT NULL,
    user_id uuid,
    date date NOT NULL,
    compile_count bigint NOT NULL DEFAULT 0,
    execute_count bigint NOT NULL DEFAULT 0,
    chat_count bigint NOT NULL DEFAULT 0,
    embed_count bigint NOT NULL DEFAULT 0,
    tokens_used bigint NOT NULL DEFAULT 0,
    credits_used numeric(18, 4) NOT NULL DEFAULT 0,
    estimated_cost numeric(18, 10) NOT NULL DEFAULT 0,
    UNIQUE NULLS NOT DISTINCT (workspace_id, user_id, date)
);
"""

UNDONE = "DROP TABLE effect_results, model_calls, usage_tracking;"


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)


def downgrade() -> None:
    """Take them away again."""
    op.execute(UNDONE)
