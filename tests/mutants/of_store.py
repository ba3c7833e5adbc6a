"""Mutants of the statements: fence, claims, leases, keys, signals."""

from tests.mutants.mutant import Mutant

STATEMENTS, EXECUTIONS, LEASES = "store/statements.py", "store/executions.py", "store/leases.py"
FLUSHING, CLAIMING = "tests/contract/test_flush.py", "tests/contract/test_claim.py"
LEASING, ACCEPTING = "tests/contract/test_leases.py", "tests/contract/test_accept.py"
KEYED = "tests/contract/test_concurrency.py"
OUTAGES = "tests/integration/store/test_outages.py"
TAKING = '), {TAKEN}\n{CLAIMED_COLUMNS}\nFROM taken t {VERSION_OF_TAKEN}\n"""'
FENCED = "(v.execution_id IN (SELECT id FROM fenced)) IS TRUE"


def on_postgres(file: str, *names: str) -> tuple[str, ...]:
    """Return tests of a contract suite as they run on PostgreSQL."""
    return tuple(f"{file}::{name}[postgres]" for name in names)


FENCE = (
    Mutant(
        name="flush-without-epoch",
        why="a former owner that wakes up writes over the execution of the present one (G3)",
        file=STATEMENTS,
        old="AND e.epoch = p.epoch",
        new="",
        tests=on_postgres(FLUSHING, "test_an_older_epoch_is_refused_as_a_whole"),
    ),
    Mutant(
        name="flush-without-last-seq",
        why="numbers of events get gaps, and a flush whose commit was not seen is written twice",
        file=STATEMENTS,
        old="AND e.last_seq = p.last_seq",
        new="",
        tests=on_postgres(FLUSHING, "test_a_gap_in_the_numbers_is_refused"),
    ),
    Mutant(
        name="flush-without-status",
        why="a terminal execution is written again and may end twice (G7)",
        file=STATEMENTS,
        old="AND e.status = p.required",
        new="",
        tests=(f"{FLUSHING}::test_terminal_means_for_ever[postgres-completed]",),
    ),
    Mutant(
        name="refused-flush-writes-events",
        why="events of a former owner stand in the stream of the present one",
        file=STATEMENTS,
        old=f"seq, kind, at_ms, node_id, body)\n    WHERE {FENCED}",
        new="seq, kind, at_ms, node_id, body)",
        tests=on_postgres(FLUSHING, "test_an_older_epoch_is_refused_as_a_whole"),
    ),
    Mutant(
        name="refused-flush-writes-results",
        why="a result that was computed from uncommitted ones is kept as a node's result (G2, G4)",
        file=STATEMENTS,
        old=f"pid, host, output_ref, gpus)\n    WHERE {FENCED}",
        new="pid, host, output_ref, gpus)\n    WHERE true",
        tests=on_postgres(FLUSHING, "test_an_older_epoch_is_refused_as_a_whole"),
    ),
    Mutant(
        name="refused-flush-reads-signals",
        why="a cancel that only a former owner has heard is lost for ever",
        file=STATEMENTS,
        old=f"s.execution_id = v.execution_id AND {FENCED}",
        new="s.execution_id = v.execution_id",
        tests=on_postgres(FLUSHING, "test_an_older_epoch_is_refused_as_a_whole"),
    ),
    Mutant(
        name="settled-result-overwritten",
        why="a node's durable result changes after others have used it (G2)",
        file=STATEMENTS,
        old="WHERE n.status IN (",
        new="WHERE true OR n.status IN (",
        tests=on_postgres(FLUSHING, "test_a_running_row_is_replaced_by_its_final_one_and_that_by_nothing"),
    ),
    Mutant(
        name="ambiguous-commit-not-recognised",
        why="a flush that was committed while the connection broke is taken for refused: its owner gives up what is its own",
        file=EXECUTIONS,
        old="if standing is None or",
        new="if True or standing is None or",
        tests=on_postgres(FLUSHING, "test_a_repeated_flush_is_committed_and_written_once"),
    ),
    Mutant(
        name="doubtful-is-committed",
        why="a refused owner believes that it wrote, and goes on to act (G3, G4)",
        file=EXECUTIONS,
        old="return Verdict.FENCED",
        new="return Verdict.COMMITTED",
        tests=on_postgres(FLUSHING, "test_an_older_epoch_is_refused_as_a_whole"),
    ),
    Mutant(
        name="doubtful-judged-without-epoch",
        why="a former owner takes the numbers that its heir has written for its own",
        file=EXECUTIONS,
        old="standing[0] != part.epoch or",
        new="",
        tests=on_postgres(FLUSHING, "test_what_an_heir_has_written_is_not_taken_for_the_former_owners"),
    ),
    Mutant(
        name="verdicts-in-another-order",
        why="one execution is told what became of another: the fenced one goes on, the other stops",
        file=EXECUTIONS,
        old="            for part in batch\n        ]",
        new="            for part in sorted(batch, key=lambda part: part.execution_id)\n        ]",
        tests=on_postgres(FLUSHING, "test_verdicts_are_of_each_part_alone"),
    ),
    Mutant(
        name="batches-in-any-order",
        why="writers with the same executions wait for each other in a circle, and one of them is thrown out",
        file="store/columns.py",
        old="ordered = sorted(batch, key=lambda part: part.execution_id)",
        new="ordered = list(batch)",
        tests=(f"{OUTAGES}::test_batches_that_share_executions_lock_them_in_one_order",),
    ),
    Mutant(
        name="twin-without-epoch",
        why="the simulation would prove nothing: its store would accept a former owner's writes",
        file="store/memory_executions.py",
        old="if row is None or row.epoch != part.epoch:",
        new="if row is None:",
        tests=(f"{FLUSHING}::test_an_older_epoch_is_refused_as_a_whole[memory]",),
    ),
)

CLAIMS = (
    Mutant(
        name="claim-keeps-the-epoch",
        why="two owners after one another share an epoch, so the fence tells them not apart",
        file=STATEMENTS,
        old="epoch = e.epoch + 1",
        new="epoch = e.epoch",
        tests=on_postgres(CLAIMING, "test_a_claim_raises_the_epoch_and_owns"),
    ),
    Mutant(
        name="steal-keeps-the-epoch",
        why="a process that only slept writes beside the one that took over (G3)",
        file=STATEMENTS,
        old="epoch = e.epoch + 1",
        new="epoch = e.epoch + CASE WHEN l.orphan THEN 0 ELSE 1 END",
        tests=on_postgres(CLAIMING, "test_an_orphan_goes_first_and_is_recovered"),
    ),
    Mutant(
        name="expired-lease-is-live",
        why="a process whose time is over takes new executions, which are then stolen from it at once",
        file=STATEMENTS,
        old="expires_at > clock_timestamp() AND NOT draining",
        new="NOT draining",
        tests=on_postgres(CLAIMING, "test_nothing_for_an_owner_that_is_not_live_or_drains"),
    ),
    Mutant(
        name="ended-lease-is-live",
        why="a process that was declared dead takes new executions",
        file=STATEMENTS,
        old='LIVE_LEASE = "ended_at IS NULL AND',
        new='LIVE_LEASE = "',
        tests=on_postgres(CLAIMING, "test_nothing_for_an_owner_that_is_not_live_or_drains"),
    ),
    Mutant(
        name="claim-by-name-without-a-lease",
        why="an actor that was made for one execution owns it without anybody noticing its death",
        file=STATEMENTS,
        old="EXISTS (SELECT FROM leases WHERE id = %(owner)s AND {LIVE_LEASE})",
        new="true",
        tests=on_postgres(CLAIMING, "test_nothing_for_an_owner_that_is_not_live_or_drains"),
    ),
    Mutant(
        name="steal-from-the-living",
        why="executions move from owner to owner without end, and their effects are repeated",
        file=STATEMENTS,
        old="l.id IS NULL OR l.ended_at <= clock_timestamp()",
        new="l.id IS NOT NULL OR l.ended_at <= clock_timestamp()",
        tests=on_postgres(CLAIMING, "test_an_orphan_waits_for_the_grace"),
    ),
    Mutant(
        name="steal-by-name-from-the-living",
        why="a dedicated execution gets a second actor while the first works",
        file=STATEMENTS,
        old=(
            "(e.status = 'queued' AND {RELEASED} OR e.status = 'running' AND (l.id IS NULL OR l.ended_at IS NOT NULL)\n"
            "            OR"
        ),
        new="(e.status IN ('queued', 'running')\n            OR",
        tests=on_postgres(CLAIMING, "test_a_dedicated_orphan_is_claimable_by_name"),
    ),
    Mutant(
        name="claim-waits-for-locks",
        why="one claimer that hangs stops every other claimer",
        file=STATEMENTS,
        old="ORDER BY c.place LIMIT %(limit)s\n    FOR NO KEY UPDATE OF e SKIP LOCKED",
        new="ORDER BY c.place LIMIT %(limit)s\n    FOR NO KEY UPDATE OF e",
        tests=(f"{OUTAGES}::test_a_claim_does_not_wait_for_a_row_that_somebody_holds",),
    ),
    Mutant(
        name="claim-without-lock",
        why="two claimers at the same time take the same execution: the second steals it from a living owner",
        file=STATEMENTS,
        old="ORDER BY c.place LIMIT %(limit)s\n    FOR NO KEY UPDATE OF e SKIP LOCKED",
        new="ORDER BY c.place LIMIT %(limit)s",
        tests=("tests/integration/store/test_claim_races.py::test_what_another_has_claimed_meanwhile_is_not_taken",),
    ),
    Mutant(
        name="claim-by-name-without-lock",
        why="two actors that were made for one execution both get it",
        file=STATEMENTS,
        old=f"    FOR NO KEY UPDATE OF e SKIP LOCKED\n{TAKING}",
        new=TAKING,
        tests=("tests/integration/store/test_claim_races.py::test_what_another_has_claimed_meanwhile_is_not_taken",),
    ),
    Mutant(
        name="crash-among-others-counts",
        why="the neighbours of an execution that kills its actors are condemned with it",
        file=STATEMENTS,
        old="WHEN l.orphan AND e.alone AND",
        new="WHEN l.orphan AND",
        tests=on_postgres(CLAIMING, "test_only_crashes_while_alone_count"),
    ),
    Mutant(
        name="note-under-an-old-epoch",
        why="a former owner blames an execution that another one has by now",
        file=EXECUTIONS,
        old="WHERE id = %s AND epoch = %s AND status = 'running'",
        new="WHERE id = %s AND %s IS NOT NULL AND status = 'running'",
        tests=on_postgres(CLAIMING, "test_a_note_under_an_old_epoch_is_ignored"),
    ),
    Mutant(
        name="release-under-an-old-epoch",
        why="a former owner gives back what is under way elsewhere",
        file=EXECUTIONS,
        old="AND owner = %s AND epoch = %s",
        new="AND owner = %s AND %s IS NOT NULL",
        tests=on_postgres(CLAIMING, "test_release_queues_it_again"),
    ),
)

CONCURRENCY = (
    Mutant(
        name="concurrency-key-without-lock",
        why="two that count at once both find room: more are under way than the limit allows",
        file="store/concurrency.py",
        old="SELECT pg_advisory_xact_lock(l.number) FROM",
        new="SELECT l.number FROM",
        tests=("tests/integration/store/test_concurrency_races.py",),
    ),
    Mutant(
        name="held-claimed-by-name",
        why="an execution that its concurrency key holds begins beyond the limit",
        file=STATEMENTS,
        old="e.status = 'queued' AND {RELEASED} OR e.status = 'running' AND (l.id IS NULL OR l.ended_at IS NOT NULL)\n            OR",
        new="e.status = 'queued' OR e.status = 'running' AND (l.id IS NULL OR l.ended_at IS NOT NULL)\n            OR",
        tests=on_postgres(KEYED, "test_a_held_one_can_be_cancelled_and_is_never_under_way"),
    ),
    Mutant(
        name="refused-one-keeps-its-key",
        why="an Idempotency-Key stands for an execution that is not there",
        file="store/concurrency.py",
        old="DELETE FROM idempotency_keys k USING gone g WHERE k.execution_id = g.id",
        new="SELECT id FROM gone",
        tests=on_postgres(KEYED, "test_a_refused_one_leaves_nothing_behind"),
    ),
    Mutant(
        name="one-that-waits-takes-no-room",
        why="executions that wait or are paused do not count, and more than the limit are under way",
        file="store/concurrency.py",
        old="AND e.status IN ('queued', 'running', 'waiting', 'paused')",
        new="AND e.status IN ('queued', 'running')",
        tests=(f"{KEYED}::test_what_waits_or_is_paused_is_under_way[postgres-waiting]",),
    ),
)

ACCEPTS = (
    Mutant(
        name="push-without-a-lease",
        why="an execution is accepted for an actor that is dead, and runs nowhere until somebody looks for orphans",
        file=STATEMENTS,
        old="l.id = r.owner AND {LIVE_LEASE}",
        new="l.id = r.owner",
        tests=on_postgres(ACCEPTING, "test_an_owner_that_is_unknown_expired_ended_or_draining_gets_nothing"),
    ),
    Mutant(
        name="push-overtakes-the-queue",
        why="whoever pushes starves those that wait in the queue",
        file=STATEMENTS,
        old="q.status = 'queued' AND q.isolation = 'pooled'",
        new="q.status = 'queued' AND q.isolation = 'pooled' AND false",
        tests=on_postgres(ACCEPTING, "test_a_push_does_not_overtake_a_pooled_execution_in_the_queue"),
    ),
    Mutant(
        name="key-ignored",
        why="a client that asks again starts a second execution (G8)",
        file=STATEMENTS,
        old="AND (r.key IS NULL OR",
        new="AND (true OR r.key IS NULL OR",
        tests=on_postgres(ACCEPTING, "test_the_same_key_replays_the_first_execution"),
    ),
    Mutant(
        name="another-version-than-expected",
        why="what was judged by a version that is no longer current is executed: its limits and its schema do not hold",
        file=STATEMENTS,
        old="WHERE NOT r.outdated AND (",
        new="WHERE (",
        tests=on_postgres(ACCEPTING, "test_another_version_than_the_expected_one_is_told_and_leaves_nothing"),
    ),
    Mutant(
        name="fingerprint-ignored",
        why="a key that was used for something else answers with that, as if it were what was asked",
        file="store/reading.py",
        old="and bytes(fingerprint) != key.fingerprint",
        new="and bytes(fingerprint) == b''",
        tests=on_postgres(ACCEPTING, "test_the_same_key_with_another_fingerprint_is_a_mismatch"),
    ),
    Mutant(
        name="said-again-after-a-crash",
        why="an attempt after a crash adds a message to a conversation that is there already",
        file="store/conversations.py",
        old="execute(FIRST_TIME, parameters)).fetchone() is not None:",
        new="execute(FIRST_TIME, parameters)).fetchone() or True:",
        tests=("tests/integration/store/test_conversations.py",),
    ),
    Mutant(
        name="acknowledged-before-its-commit",
        why="an execution that was acknowledged is lost with the database (G1)",
        file="serve_app/accepting.py",
        old="accepted = answered = await self._insert(new)",
        new=(
            "inserting = asyncio.ensure_future(self._insert(new))\n"
            "            inserting.add_done_callback(lambda done: done.cancelled() or done.exception())\n"
            "            accepted = answered = Accepted(outcome=Outcome.CREATED, id=new.id, owner=new.owner,\n"
            "                status=ExecutionStatus.RUNNING, workflow_version=request.version)"
        ),
        tests=("tests/unit/serve_app/test_accepting.py",),
    ),
    Mutant(
        name="queued-and-acknowledged-before-its-commit",
        why="an execution that was acknowledged is lost with the database (G1)",
        file="serve_app/accepting.py",
        old="            accepted = await self._submit(new)",
        new=(
            "            inserting = asyncio.ensure_future(self._submit(new))\n"
            "            inserting.add_done_callback(lambda done: done.cancelled() or done.exception())\n"
            "            accepted = Accepted(outcome=Outcome.CREATED, id=new.id)"
        ),
        tests=("tests/unit/serve_app/test_accepting.py",),
    ),
)

LEASED = (
    Mutant(
        name="reap-without-expiry",
        why="every living owner loses its lease and all that it owns",
        file=LEASES,
        old="ended_at IS NULL AND expires_at < clock_timestamp()",
        new="ended_at IS NULL",
        tests=on_postgres(LEASING, "test_the_reaper_ends_the_expired_ones_only"),
    ),
    Mutant(
        name="reap-after-a-restart",
        why="after an outage of the database all leases have expired together: everything is stolen from everybody",
        file=LEASES,
        old="AND clock_timestamp() > pg_postmaster_start_time() + %(ttl_ms)s * interval '1 millisecond'",
        new="",
        tests=on_postgres(LEASING, "test_the_reaper_holds_off_after_a_start_of_the_database"),
    ),
    Mutant(
        name="renew-after-the-end",
        why="a process whose executions were given to others goes on acting for them",
        file=LEASES,
        old="interval '1 millisecond'\nWHERE id = %(id)s AND ended_at IS NULL",
        new="interval '1 millisecond'\nWHERE id = %(id)s",
        tests=on_postgres(LEASING, "test_a_lease_that_is_over_cannot_be_renewed"),
    ),
    Mutant(
        name="end-twice",
        why="a lease that was released counts as crashed afterwards, and what ran there is blamed",
        file=LEASES,
        old="end_reason = %(reason)s WHERE id = %(id)s AND ended_at IS NULL",
        new="end_reason = %(reason)s WHERE id = %(id)s",
        tests=on_postgres(LEASING, "test_a_lease_that_is_over_cannot_be_renewed"),
    ),
    Mutant(
        name="register-again-revives",
        why="a registration that is repeated after an outage brings a lost lease back to life",
        file=LEASES,
        old="ON CONFLICT (id) DO NOTHING",
        new="ON CONFLICT (id) DO UPDATE SET ended_at = NULL, end_reason = NULL",
        tests=on_postgres(LEASING, "test_registering_again_changes_nothing"),
    ),
    Mutant(
        name="renewal-reads-nothing-back",
        why="a push whose call was lost is never taken up: its owner lives, so nobody else may take it (G1)",
        file=LEASES,
        old="FROM executions WHERE status = 'running' AND owner = %(id)s ORDER BY id",
        new="FROM executions WHERE status = 'running' AND owner = %(id)s AND false ORDER BY id",
        tests=on_postgres(LEASING, "test_a_renewal_reads_back_what_is_owned"),
    ),
    Mutant(
        name="reading-signals-marks-them-read",
        why="a signal is lost when whoever has read it dies before its flush",
        file="store/reading.py",
        old='UNREAD_SIGNALS = f"""\n',
        new=(
            'UNREAD_SIGNALS = f"""\nWITH signals AS (UPDATE public.signals SET read_at = clock_timestamp() '
            "WHERE read_at IS NULL AND execution_id IN (SELECT unnest(%(ids)s::uuid[])) "
            "RETURNING id, execution_id, kind, body, node_id, run_index, created_at, NULL::timestamptz AS read_at)\n"
        ),
        tests=on_postgres(FLUSHING, "test_signals_wait_until_the_flush_that_took_them"),
    ),
)

OF_STORE = (*FENCE, *CLAIMS, *CONCURRENCY, *ACCEPTS, *LEASED)
