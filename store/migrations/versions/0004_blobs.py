"""Large data apart from the rows that name it.

Content is kept as it is: compressing it would cost more time than writing it. The order of the columns in `blobs` and
`blob_chunks` keeps a workspace's content together.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE executions ADD COLUMN input_ref json, ADD COLUMN output_ref json;
ALTER TABLE node_executions ADD COLUMN output_ref json;

CREATE TABLE blobs (
    workspace_id uuid NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    touched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, sha256)
) WITH (fillfactor = 90);
CREATE INDEX blobs_touched ON blobs (touched_at);

CREATE TABLE blob_chunks (
    workspace_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    place integer NOT NULL CHECK (place >= 0),
    content bytea NOT NULL,
    PRIMARY KEY (workspace_id, sha256, place)
);
ALTER TABLE blob_chunks ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE blob_references (
    execution_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    workspace_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, sha256)
);
CREATE INDEX blob_references_content ON blob_references (workspace_id, sha256);
"""

TABLES_UNDONE = """
DROP TABLE blobs, blob_chunks, blob_references;
ALTER TABLE executions DROP COLUMN input_ref, DROP COLUMN output_ref;
ALTER TABLE node_executions DROP COLUMN output_ref;
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)


def downgrade() -> None:
    """Take them away again, and with them all large data."""
    op.execute(TABLES_UNDONE)
