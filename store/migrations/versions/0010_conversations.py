"""Conversations and their messages.

A conversation's row is what those who add to it at once wait for: its messages have numbers without gaps, in the order of their times.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE conversations (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    conversation_id text NOT NULL CHECK (char_length(conversation_id) BETWEEN 1 AND 200),
    message_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, conversation_id)
);
CREATE INDEX conversations_updated ON conversations (workspace_id, updated_at, id);
CREATE TABLE conversation_messages (
    conversation uuid NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    sequence integer NOT NULL,
    user_id uuid,
    workflow_id uuid,
    execution_id uuid,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content text NOT NULL CHECK (char_length(content) <= 100000),
    metadata json NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (conversation, sequence)
);
"""

UNDONE = "DROP TABLE conversation_messages, conversations;"


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)


def downgrade() -> None:
    """Take them away again, with all that was said."""
    op.execute(UNDONE)
