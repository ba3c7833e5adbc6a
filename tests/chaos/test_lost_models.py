"""Ingestion while processes are killed: the owner in the middle of it, and the replica that computes. Each passage is there once."""

from uuid import UUID

import pytest

from tests.instance import RunningInstance, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

REPLICA = "ray::ServeReplica:rayloom-embed-"
SENTENCE = "Sentence {0} of the long document says that the loom number {0} weaves until its thread is broken. "
SENTENCES = 2_600
PARTS_KEPT = "SELECT count(*) FROM effect_results WHERE execution_id = %s AND key LIKE '%%:vectors:%%'"


def upload(instance: RunningInstance, name: str, sentences: int) -> UUID:
    content = "".join(SENTENCE.format(number) for number in range(sentences)).encode()
    answer = instance.api.http.post(
        f"{instance.api.workspace}/documents", files={"file": (f"{name}.txt", content)}, timeout=60
    )
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["id"])


def executing(instance: RunningInstance, document: UUID) -> UUID:
    def found() -> UUID | None:
        rows = instance.rows("SELECT execution_id FROM documents WHERE id = %s", document)
        return rows[0][0] if rows else None

    return until(found, 30, "the document has an execution")


def assert_indexed(instance: RunningInstance, document: UUID, limit_s: float) -> int:
    """Wait until it is indexed; its passages are there once each, in order. Returns how many."""

    def ended() -> str:
        ((status, code, message),) = instance.rows(
            "SELECT status, error_code, error_message FROM documents WHERE id = %s", document
        )
        assert status != "failed", (code, message)
        return str(status) if status == "indexed" else ""

    until(ended, limit_s, "the document is indexed", every_s=0.2)
    rows = instance.rows(
        "SELECT chunk_index, embedding IS NOT NULL FROM document_chunks WHERE document_id = %s AND live ORDER BY 1",
        document,
    )
    ((count,),) = instance.rows("SELECT chunk_count FROM documents WHERE id = %s", document)
    assert rows == [(index, True) for index in range(count)]
    ((stale,),) = instance.rows("SELECT count(*) FROM document_chunks WHERE document_id = %s AND NOT live", document)
    assert stale == 0
    return int(count)


def test_an_owner_that_is_killed_while_it_embeds_leaves_what_it_has_done(instance: RunningInstance):
    document = upload(instance, "owner", SENTENCES)
    execution = executing(instance, document)
    until(lambda: instance.rows(PARTS_KEPT, execution)[0][0] >= 1, 120, "the vectors of a part are kept", every_s=0.05)
    ((owner,),) = instance.rows("SELECT owner FROM executions WHERE id = %s", execution)
    (lease,) = [lease for lease in instance.leases() if lease.id == owner]

    lease.process.kill()

    count = assert_indexed(instance, document, 150)
    ((epoch,),) = instance.rows("SELECT epoch FROM executions WHERE id = %s", execution)
    ((asked,),) = instance.rows(
        "SELECT sum((SELECT sum(size) FROM unnest(batch_sizes) AS size)) FROM model_calls WHERE execution_id = %s",
        execution,
    )
    assert epoch > 1
    assert count > 500
    assert asked < 2 * count, "what was computed before is not computed again"


def test_a_replica_that_is_killed_while_it_computes_is_asked_again(instance: RunningInstance):
    document = upload(instance, "replica", SENTENCES // 4)
    execution = executing(instance, document)
    (replica,) = until(lambda: instance.titled(REPLICA), 60, "there is a replica")
    until(
        lambda: (
            instance.rows(
                "SELECT FROM node_executions WHERE execution_id = %s AND node_id = 'embed' AND status = 'running'",
                execution,
            )
            or instance.rows("SELECT FROM node_executions WHERE execution_id = %s AND node_id = 'chunk'", execution)
        ),
        60,
        "it is about to embed",
    )

    replica.kill()

    assert assert_indexed(instance, document, 150) > 50
    (other,) = until(lambda: instance.titled(REPLICA), 30, "there is another replica")
    assert other != replica
