"""The tables as SQLAlchemy knows them; the migrations make them, a test holds the two against each other.

What a run reads and writes (input, output, definitions, event bodies) is `json`, not `jsonb`: kept as it was given,
with its key order and numbers, so that a recovered execution sees the same bytes as one that was never interrupted.
"""

from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.types import TypeEngine

metadata = MetaData()


def _required(name: str, kind: TypeEngine[Any], default: str | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=None if default is None else text(default))


def _moment(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True))


def _stamp(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("email", Text()),
    _required("password_hash", Text()),
    _required("first_name", Text(), "''"),
    _required("last_name", Text(), "''"),
    _required("status", Text(), "'active'"),
    _required("email_verified", Boolean(), "false"),
    _required("mfa_enabled", Boolean(), "false"),
    Column("mfa_secret", Text),
    _required("tier", Text(), "'free'"),
    Column("compile_limit", Integer),
    Column("execute_limit", Integer),
    Column("stream_connections", Integer),
    _required("credits_remaining", BigInteger(), "0"),
    _required("credits_used_total", BigInteger(), "0"),
    _stamp("created_at"),
    _stamp("updated_at"),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("users.id"), nullable=False),
    _required("name", Text()),
    Column("slug", Text, nullable=False, unique=True),
    _required("plan_id", Text(), "'free'"),
    Column("stripe_customer_id", Text),
    _required("settings", JSONB(), "'{}'"),
    _stamp("created_at"),
)

workspace_members = Table(
    "workspace_members",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("workspace_id", Uuid, ForeignKey("workspaces.id"), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    _required("role", Text()),
    _stamp("joined_at"),
    UniqueConstraint("workspace_id", "user_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("workspace_id", Uuid, ForeignKey("workspaces.id"), nullable=False),
    _required("name", Text()),
    _required("key_prefix", Text()),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    _required("scopes", ARRAY(Text()), "'{}'"),
    _moment("last_used_at"),
    _moment("expires_at"),
    _stamp("created_at"),
    _moment("revoked_at"),
)

workflows = Table(
    "workflows",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("workspace_id", Uuid, ForeignKey("workspaces.id"), nullable=False),
    Column("created_by", Uuid, ForeignKey("users.id")),
    _required("name", Text()),
    _required("slug", Text()),
    _required("description", Text(), "''"),
    _required("status", Text(), "'draft'"),
    _required("version", Integer()),
    _required("nodes", JSON()),
    _required("connections", JSON()),
    _required("settings", JSON(), "'{}'"),
    _required("viewport", JSON(), "'{}'"),
    _required("input_schema", JSON(), "'{}'"),
    _required("tags", ARRAY(Text()), "'{}'"),
    _required("is_template", Boolean(), "false"),
    _required("execution_count", BigInteger(), "0"),
    _moment("last_executed_at"),
    _stamp("created_at"),
    _stamp("updated_at"),
    UniqueConstraint("workspace_id", "slug"),
)

workflow_versions = Table(
    "workflow_versions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("workflow_id", Uuid, ForeignKey("workflows.id"), nullable=False),
    _required("version", Integer()),
    _required("name", Text()),
    _required("nodes", JSON()),
    _required("connections", JSON()),
    _required("settings", JSON(), "'{}'"),
    _required("input_schema", JSON(), "'{}'"),
    Column("created_by", Uuid, ForeignKey("users.id")),
    _required("change_message", Text(), "''"),
    _stamp("created_at"),
    UniqueConstraint("workflow_id", "version"),
)

executions = Table(
    "executions",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    Column("workflow_id", Uuid),
    Column("workflow_version", Integer),
    Column("definition", JSON),
    _required("status", Text()),
    _required("trigger_type", Text()),
    Column("trigger_data", JSON),
    Column("triggered_by", Uuid),
    _required("isolation", Text(), "'pooled'"),
    _required("priority", SmallInteger(), "5"),
    Column("owner", Uuid),
    _required("epoch", BigInteger(), "0"),
    _required("last_seq", BigInteger(), "0"),
    _required("losses", Integer(), "0"),
    _required("crashes", Integer(), "0"),
    _required("alone", Boolean(), "false"),
    _required("input_data", JSON()),
    Column("input_ref", JSON),
    Column("output_data", JSON),
    Column("output_ref", JSON),
    _required("error_code", Text(), "''"),
    _required("error_message", Text(), "''"),
    _required("error_node_id", Text(), "''"),
    Column("shared", Boolean()),
    _stamp("queued_at"),
    _moment("claimed_at"),
    _moment("started_at"),
    _moment("completed_at"),
    _required("nodes_total", Integer(), "0"),
    _required("nodes_completed", Integer(), "0"),
    _required("retry_count", Integer(), "0"),
    Column("parent_execution_id", Uuid),
    _required("tokens_used", BigInteger(), "0"),
    _required("credits_used", BigInteger(), "0"),
    _moment("wake_at"),
    _moment("deadline_at"),
    _moment("paused_at"),
    _required("parent_node_id", Text(), "''"),
    _required("parent_run_index", Integer(), "0"),
    _required("parent_place", Integer(), "0"),
    _required("depth", SmallInteger(), "0"),
    _required("concurrency_key", Text(), "''"),
    _required("held", Boolean(), "false"),
    _required("concurrency_limit", Integer(), "0"),
    postgresql_partition_by="RANGE (id)",
)

node_executions = Table(
    "node_executions",
    metadata,
    Column("execution_id", Uuid, primary_key=True),
    Column("node_id", Text, primary_key=True),
    Column("run_index", Integer, primary_key=True),
    _required("written", BigInteger()),
    _required("node_type", Text()),
    _required("node_name", Text()),
    _required("status", Text()),
    _required("attempt", Integer()),
    Column("output_data", JSON),
    Column("output_ref", JSON),
    _required("error_code", Text(), "''"),
    _required("error_message", Text(), "''"),
    _moment("started_at"),
    _moment("completed_at"),
    Column("duration_ms", Double),
    _required("logs", Text(), "''"),
    _required("placement", Text(), "''"),
    Column("pid", Integer),
    _required("host", Text(), "''"),
    _required("gpu_ids", Text(), "''"),
    postgresql_partition_by="RANGE (execution_id)",
)

stream_events = Table(
    "stream_events",
    metadata,
    Column("execution_id", Uuid, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    _required("kind", Text()),
    _required("at", DateTime(timezone=True)),
    _required("node_id", Text(), "''"),
    _required("body", JSON()),
    postgresql_partition_by="RANGE (execution_id)",
)

signals = Table(
    "signals",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    _required("execution_id", Uuid()),
    _required("kind", Text()),
    _required("body", JSON()),
    _stamp("created_at"),
    _moment("read_at"),
    _required("node_id", Text(), "''"),
    _required("run_index", Integer(), "0"),
)

leases = Table(
    "leases",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("cluster_id", Text()),
    _required("actor_id", Text()),
    _required("actor_name", Text()),
    _required("host", Text()),
    _required("pid", Integer()),
    _required("slots", Integer()),
    Column("dedicated_to", Uuid),
    _required("draining", Boolean(), "false"),
    _stamp("started_at"),
    _required("expires_at", DateTime(timezone=True)),
    _moment("ended_at"),
    Column("end_reason", Text),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("workspace_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    _required("fingerprint", LargeBinary()),
    _required("execution_id", Uuid()),
    _stamp("created_at"),
)

idempotent_writes = Table(
    "idempotent_writes",
    metadata,
    Column("workspace_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    _required("fingerprint", LargeBinary()),
    _required("id", Uuid()),
    _required("holder", Uuid()),
    _moment("reserved_until"),
    Column("status", SmallInteger),
    Column("headers", JSON),
    Column("body", LargeBinary),
    Column("body_bytes", BigInteger),
    _stamp("created_at"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("workspace_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    _required("bytes", BigInteger()),
    _stamp("touched_at"),
)

blob_chunks = Table(
    "blob_chunks",
    metadata,
    Column("workspace_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("place", Integer, primary_key=True),
    _required("content", LargeBinary()),
)

blob_references = Table(
    "blob_references",
    metadata,
    Column("execution_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    _required("workspace_id", Uuid()),
    _stamp("created_at"),
)

hitl_requests = Table(
    "hitl_requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    _required("execution_id", Uuid()),
    Column("workflow_id", Uuid),
    _required("node_id", Text()),
    _required("run_index", Integer()),
    _required("ordinal", Integer(), "0"),
    _required("request_type", Text()),
    _required("title", Text(), "''"),
    _required("message", Text(), "''"),
    _required("options", JSON(), "'[]'"),
    _required("form_schema", JSON(), "'{}'"),
    _required("context_data", JSON(), "'{}'"),
    _required("allowed_roles", ARRAY(Text()), "'{}'"),
    _required("approvals_required", SmallInteger(), "1"),
    _required("answers", JSON(), "'[]'"),
    _required("status", Text(), "'pending'"),
    Column("response", JSON),
    Column("user_id", Uuid),
    Column("timeout_seconds", Integer),
    _required("auto_action", Text(), "''"),
    Column("remind_after_seconds", Integer),
    Column("escalate_after_seconds", Integer),
    _required("escalate_to", Text(), "''"),
    Column("token_hash", LargeBinary),
    _stamp("created_at"),
    _moment("expires_at"),
    _moment("reminded_at"),
    _moment("escalated_at"),
    _moment("responded_at"),
    UniqueConstraint("execution_id", "node_id", "run_index", "ordinal"),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    Column("user_id", Uuid),
    Column("workflow_id", Uuid),
    Column("execution_id", Uuid),
    _required("node_id", Text(), "''"),
    _required("action_type", Text()),
    _required("request_details", JSON(), "'{}'"),
    Column("response", JSON),
    Column("response_time_ms", BigInteger),
    _required("ip_address", Text(), "''"),
    _required("user_agent", Text(), "''"),
    _stamp("created_at"),
)

effect_results = Table(
    "effect_results",
    metadata,
    Column("execution_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    _required("workspace_id", Uuid()),
    _required("result", JSON()),
    _stamp("created_at"),
)

model_calls = Table(
    "model_calls",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    Column("execution_id", Uuid),
    Column("workflow_id", Uuid),
    Column("user_id", Uuid),
    _required("node_id", Text(), "''"),
    _required("run_index", Integer(), "0"),
    _required("attempt", Integer(), "0"),
    _required("kind", Text()),
    _required("provider", Text(), "''"),
    _required("model", Text()),
    _required("device", Text()),
    _required("host", Text()),
    _required("pid", Integer()),
    _required("gpu_ids", ARRAY(Text()), "'{}'"),
    _required("batch_sizes", ARRAY(Integer()), "'{}'"),
    _required("prompt_tokens", BigInteger(), "0"),
    _required("completion_tokens", BigInteger(), "0"),
    _required("estimated", Boolean(), "false"),
    Column("cost_usd", Numeric(18, 10)),
    _required("duration_ms", Double()),
    _stamp("created_at"),
)

usage_tracking = Table(
    "usage_tracking",
    metadata,
    _required("workspace_id", Uuid()),
    Column("user_id", Uuid),
    _required("date", Date()),
    _required("compile_count", BigInteger(), "0"),
    _required("execute_count", BigInteger(), "0"),
    _required("chat_count", BigInteger(), "0"),
    _required("embed_count", BigInteger(), "0"),
    _required("tokens_used", BigInteger(), "0"),
    _required("credits_used", Numeric(18, 4), "0"),
    _required("estimated_cost", Numeric(18, 10), "0"),
    UniqueConstraint("workspace_id", "user_id", "date", postgresql_nulls_not_distinct=True),
)

collections = Table(
    "collections",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    _required("name", Text()),
    _required("description", Text(), "''"),
    _required("embedding_model", Text()),
    _required("dimension", Integer(), "0"),
    _required("chunk_tokens", Integer()),
    _required("overlap_tokens", Integer()),
    _stamp("created_at"),
    UniqueConstraint("workspace_id", "name"),
)

documents = Table(
    "documents",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    Column("collection_id", Uuid, ForeignKey("collections.id"), nullable=False),
    Column("user_id", Uuid),
    _required("name", Text()),
    _required("file_type", Text()),
    _required("status", Text(), "'pending'"),
    _required("size_bytes", BigInteger()),
    _required("sha256", LargeBinary()),
    _required("content_text", Text(), "''"),
    _required("chunk_count", Integer(), "0"),
    Column("page_count", Integer),
    _required("tags", ARRAY(Text()), "'{}'"),
    _required("metadata", JSONB(), "'{}'"),
    _required("folder", Text(), "''"),
    _required("sharing_mode", Text(), "'private'"),
    _required("is_shared", Boolean(), "false"),
    _moment("shared_at"),
    _required("error_code", Text(), "''"),
    _required("error_message", Text(), "''"),
    Column("execution_id", Uuid),
    Column("effect_key", Text),
    _required("revision", Integer(), "0"),
    _required("live_revision", Integer(), "0"),
    _stamp("created_at"),
    _stamp("updated_at"),
    _moment("indexed_at"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    _required("conversation_id", Text()),
    _required("message_count", Integer(), "0"),
    _stamp("created_at"),
    _stamp("updated_at"),
    UniqueConstraint("workspace_id", "conversation_id"),
)

conversation_messages = Table(
    "conversation_messages",
    metadata,
    Column("conversation", Uuid, ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("user_id", Uuid),
    Column("workflow_id", Uuid),
    Column("execution_id", Uuid),
    _required("role", Text()),
    _required("content", Text()),
    _required("metadata", JSON(), "'{}'"),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

document_files = Table(
    "document_files",
    metadata,
    Column("document_id", Uuid, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    Column("part", Integer, primary_key=True),
    _required("data", LargeBinary()),
)

document_chunks = Table(
    "document_chunks",
    metadata,
    Column("id", Uuid, primary_key=True),
    _required("workspace_id", Uuid()),
    _required("collection_id", Uuid()),
    Column("document_id", Uuid, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    _required("revision", Integer()),
    _required("live", Boolean(), "false"),
    _required("chunk_index", Integer()),
    _required("content", Text()),
    _required("token_count", Integer()),
    _required("start_char", Integer()),
    _required("end_char", Integer()),
    Column("page_number", Integer),
    Column("embedding", VECTOR(), nullable=False),
    _required("dimension", Integer()),
    _required("embedding_model", Text()),
    _required("metadata", JSONB(), "'{}'"),
    Column("words", TSVECTOR, Computed("to_tsvector('english'::regconfig, content)", persisted=True)),
    UniqueConstraint("document_id", "revision", "chunk_index"),
)
