"""Documents, their files and their chunks with vectors and words.

A chunk's vector has the dimension of its collection's model; each dimension has an HNSW index of its own, made when the first collection
needs it (`store.vector_indexes`). The one of the default model is made here.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE collections (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    embedding_model text NOT NULL,
    dimension integer NOT NULL DEFAULT 0,
    chunk_tokens integer NOT NULL,
    overlap_tokens integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, name)
);
CREATE TABLE documents (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    collection_id uuid NOT NULL REFERENCES collections (id),
    user_id uuid,
    name text NOT NULL,
    file_type text NOT NULL CHECK (file_type IN ('pdf', 'txt', 'md', 'docx', 'csv', 'json', 'html')),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'indexed', 'failed')),
    size_bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    content_text text NOT NULL DEFAULT '',
    chunk_count integer NOT NULL DEFAULT 0,
    page_count integer,
    tags text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    folder text NOT NULL DEFAULT '',
    sharing_mode text NOT NULL DEFAULT 'private' CHECK (sharing_mode IN ('private', 'shared_read', 'shared_write')),
    is_shared boolean NOT NULL DEFAULT false,
    shared_at timestamptz,
    error_code text NOT NULL DEFAULT '',
    error_message text NOT NULL DEFAULT '',
    execution_id uuid,
    effect_key text,
    revision integer NOT NULL DEFAULT 0,
    live_revision integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    indexed_at timestamptz
);
CREATE INDEX documents_workspace ON documents (workspace_id, id);
CREATE INDEX documents_collection ON documents (collection_id, id);
CREATE INDEX documents_metadata ON documents USING gin (metadata jsonb_path_ops);
CREATE INDEX documents_tags ON documents USING gin (tags);
CREATE UNIQUE INDEX documents_effect ON documents (workspace_id, effect_key) WHERE effect_key IS NOT NULL;
CREATE TABLE document_files (
    document_id uuid NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    part integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (document_id, part)
);
ALTER TABLE document_files ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE document_chunks (
    id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    document_id uuid NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    live boolean NOT NULL DEFAULT false,
    chunk_index integer NOT NULL,
    content text NOT NULL,
    token_count integer NOT NULL,
    start_char integer NOT NULL,
    end_char integer NOT NULL,
    page_number integer,
    embedding vector NOT NULL,
    dimension integer NOT NULL,
    embedding_model text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    words tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
    UNIQUE (document_id, revision, chunk_index)
) WITH (fillfactor = 80);
ALTER TABLE document_chunks ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX document_chunks_collection ON document_chunks (workspace_id, collection_id);
CREATE INDEX document_chunks_words ON document_chunks USING gin (words);
CREATE INDEX document_chunks_hnsw_384 ON document_chunks USING hnsw ((embedding::vector(384)) vector_cosine_ops)
    WHERE dimension = 384;
"""

UNDONE = "DROP TABLE document_chunks, document_files, documents, collections;"


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)


def downgrade() -> None:
    """Take them away again, with all documents."""
    op.execute(UNDONE)
