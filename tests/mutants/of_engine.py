"""Mutants of what owns and drives executions: output commit, at most once, attempts, leases in the process, lost calls."""

from tests.mutants.mutant import Mutant

EXECUTION, JOURNAL, OWNER = "actors/execution.py", "actors/journal.py", "actors/owner.py"
LEASE, MACHINE, WRITER = "actors/lease.py", "workflow/machine.py", "store/writer.py"
UNIT = "tests/unit/actors"
DRIVEN, OWNED, KEPT = f"{UNIT}/test_execution.py", f"{UNIT}/test_owner.py", f"{UNIT}/test_lease.py"
STEPPED, FAILING = "tests/unit/workflow/test_machine.py", "tests/unit/workflow/test_machine_failing.py"
WRITTEN = "tests/unit/store/test_writer.py"

VISIBLE = (
    Mutant(
        name="effect-before-its-cause",
        why="something happened outside because of a result that is then lost (G4)",
        file=EXECUTION,
        old="if node.effect is not Effect.PURE:\n                await self._journal.durable(cause)",
        new="if node.effect is not Effect.PURE:",
        tests=(f"{DRIVEN}::test_an_effect_starts_only_when_all_that_it_depends_on_is_committed",),
    ),
    Mutant(
        name="effect-without-a-lease",
        why="a process whose executions were given to others acts beside them",
        file=EXECUTION,
        old="await self._around.may_act()\n            attempt =",
        new="pass\n            attempt =",
        tests=(f"{DRIVEN}::test_nothing_visible_starts_past_the_deadline_of_the_lease",),
    ),
    Mutant(
        name="process-does-not-look-at-its-lease",
        why="the engine asks whether it may act, and its process always says yes",
        file="actors/process.py",
        old="while not self._the_lease().valid:",
        new="while False:",
        tests=(
            "tests/unit/actors/test_process.py::test_a_process_lets_nothing_visible_start_while_its_lease_may_be_over",
        ),
    ),
    Mutant(
        name="once-before-its-start-is-committed",
        why="after a crash nobody knows that the node had started: it starts twice (G6)",
        file=EXECUTION,
        old="if node.effect is Effect.AT_MOST_ONCE:",
        new="if False:",
        tests=(f"{DRIVEN}::test_an_at_most_once_node_whose_cause_is_committed_still_waits_for_its_start_to_be",),
    ),
    Mutant(
        name="once-again-after-a-crash",
        why="a node that may start at most once starts again under the next owner (G6)",
        file=MACHINE,
        old="if node.announced and",
        new="if False and node.announced and",
        tests=(f"{STEPPED}::test_an_announced_at_most_once_node_fails_with_its_outcome_unknown",),
    ),
    Mutant(
        name="once-again-by-its-retry-policy",
        why="a node that may start at most once is tried again when it has failed (G6)",
        file=MACHINE,
        old="if policy is None or state.plan.nodes[index].effect is Effect.AT_MOST_ONCE or not state.epoch:",
        new="if policy is None or not state.epoch:",
        tests=(f"{FAILING}::test_a_node_that_may_start_once_is_not_tried_again_whatever_its_policy_says",),
    ),
    Mutant(
        name="end-answered-before-its-commit",
        why="a caller has an answer that nobody will find again (G1)",
        file=EXECUTION,
        old="await self._journal.durable()\n                    return",
        new="self._journal.flush_soon()\n                    return",
        tests=(f"{DRIVEN}::test_a_chain_of_pure_nodes_is_one_flush_with_its_end",),
    ),
    Mutant(
        name="written-before-it-is-accepted",
        why="an execution whose row is not there yet, and may never be, acts",
        file=JOURNAL,
        old="await self._accepted.wait()",
        new="pass",
        tests=(f"{OWNED}::test_what_is_begun_early_runs_but_writes_and_shows_nothing_before_its_row_is_committed",),
    ),
    Mutant(
        name="refusal-ignored",
        why="an owner that was refused goes on as if it had written (G3)",
        file=JOURNAL,
        old="if verdict is Verdict.FENCED:",
        new="if False:",
        tests=(f"{DRIVEN}::test_a_fenced_owner_drops_the_execution_and_writes_nothing_more",),
    ),
    Mutant(
        name="row-before-its-blob",
        why="a committed row names content that is not there",
        file=JOURNAL,
        old=(
            "            if contents:\n                await self._put(contents)\n            verdict = await self._flush(part)"
        ),
        new=(
            "            verdict = await self._flush(part)\n            if contents:\n                await self._put(contents)"
        ),
        tests=(f"{UNIT}/test_large_outputs.py::test_nothing_is_flushed_before_its_blobs_are_there",),
    ),
    Mutant(
        name="effect-key-of-an-attempt",
        why="whoever receives an effect twice cannot tell that it is the same one (G5)",
        file="workflow/spec.py",
        old='{self.node_id}:{self.run_index}"',
        new='{self.node_id}:{self.run_index}:{self.attempt}"',
        tests=(f"{DRIVEN}::test_an_at_most_once_node_starts_only_when_its_start_is_committed",),
    ),
)

DECIDED = (
    Mutant(
        name="stale-attempt-accepted",
        why="a result of an attempt that was given up is taken for the present one's",
        file=MACHINE,
        old="        or event.attempt != node.attempt",
        new="",
        tests=(f"{STEPPED}::test_a_resumed_execution_starts_its_lost_attempts_again_and_nothing_else",),
    ),
    Mutant(
        name="stale-run-accepted",
        why="a result of a former round is taken for the present one's (G2)",
        file=MACHINE,
        old="        or event.run_index != node.run_index",
        new="",
        tests=("tests/unit/workflow/test_machine_loops.py::test_what_a_former_round_gives_is_stale",),
    ),
    Mutant(
        name="result-after-the-decision",
        why="an execution that is to stop goes on when a late result comes",
        file=MACHINE,
        old="        state.stop is not None\n        or node.status",
        new="        node.status",
        tests=(f"{STEPPED}::test_a_failed_node_stops_the_execution_and_aborts_what_is_under_way",),
    ),
    Mutant(
        name="terminal-may-change",
        why="an execution that has ended ends again in another way (G7)",
        file=MACHINE,
        old="    if state.status.terminal:\n        return []",
        new="",
        tests=(f"{STEPPED}::test_nothing_moves_an_execution_that_has_ended",),
    ),
    Mutant(
        name="lost-attempt-keeps-its-number",
        why="what a dead owner's attempt gives back late is taken for the new attempt's result",
        file=MACHINE,
        old="            node.attempt += 1\n            node.announced",
        new="            node.announced",
        tests=(f"{STEPPED}::test_a_resumed_execution_starts_its_lost_attempts_again_and_nothing_else",),
    ),
    Mutant(
        name="lost-attempt-is-a-retry",
        why="crashes of ours use up the attempts that the user has allowed",
        file=MACHINE,
        old="            node.attempt += 1\n            node.announced",
        new="            node.attempt += 1\n            node.failures += 1\n            node.announced",
        tests=(f"{FAILING}::test_an_attempt_lost_to_a_crash_is_not_one_of_the_users",),
    ),
    Mutant(
        name="replay-forgets-failures",
        why="a node is tried for ever, or after every crash from the first attempt again",
        file=MACHINE,
        old="        node.failures += 1\n        node.attempt += 1",
        new="        node.attempt += 1",
        tests=(f"{FAILING}::test_a_failed_node_is_tried_again_after_its_delay_and_then_fails",),
    ),
    Mutant(
        name="resumed-twice-under-one-epoch",
        why="an owner that reads its own history again starts what is under way a second time",
        file=MACHINE,
        old="    if event.epoch <= state.epoch:\n        return []",
        new="",
        tests=(f"{STEPPED}::test_resuming_twice_under_the_same_epoch_does_nothing",),
    ),
    Mutant(
        name="history-ignored",
        why="the next owner starts from the beginning, or never ends",
        file=EXECUTION,
        old="if history is not None and history.events:",
        new="if False:",
        tests=(f"{OWNED}::test_a_crash_at_any_flush_loses_nothing_and_repeats_no_at_most_once_node",),
    ),
)

OWNED_HERE = (
    Mutant(
        name="taken-back-and-heard",
        why="a pause that was taken back holds an execution for ever (G1)",
        file="workflow/resting.py",
        old="        if self._newest is not None and at < self._newest:",
        new="        if False:",
        tests=(
            f"{UNIT}/test_owner.py::test_a_wish_to_pause_that_is_heard_behind_the_wish_that_took_it_back_pauses_nothing",
        ),
    ),
    Mutant(
        name="starved-by-long-executions",
        why="a workspace with one execution waits until another's long ones have ended",
        file=OWNER,
        old="            await self._claim_starved(lease_id)\n",
        new="",
        tests=(
            f"{UNIT}/test_owner.py::test_a_workspace_that_has_nothing_need_not_wait_for_those_that_have_every_slot",
        ),
    ),
    Mutant(
        name="given-back-though-never-refused",
        why="a burst of pushes shares an actor that is for one execution at a time",
        file=OWNER,
        old="        return pooled and self.active >= self._config.pushed_max",
        new="        return False",
        tests=(f"{UNIT}/test_owner.py::test_an_owner_with_too_much_gives_back_what_it_should_begin_early",),
    ),
    Mutant(
        name="lost-push-not-taken-up",
        why="an execution whose call was lost is nobody's for as long as its owner lives (G1)",
        file=OWNER,
        old="if not known and age_ms > 1_000:",
        new="if False:",
        tests=(f"{OWNED}::test_a_push_whose_call_was_lost_is_taken_up_by_the_next_renewal",),
    ),
    Mutant(
        name="pushed-twice-runs-twice",
        why="a call that comes twice starts an execution beside itself",
        file=OWNER,
        old="present.claimed.epoch >= claimed.epoch",
        new="present.claimed.epoch > claimed.epoch",
        tests=(f"{OWNED}::test_two_calls_for_one_execution_run_it_once",),
    ),
    Mutant(
        name="ended-ones-forgotten",
        why="a call that comes late runs an execution again, and repeats its effects",
        file=OWNER,
        old="self._finished[execution_id, epoch] = None",
        new="pass",
        tests=(f"{OWNED}::test_a_call_that_comes_after_the_execution_was_taken_up_does_not_run_it_again",),
    ),
    Mutant(
        name="lost-ones-kept",
        why="a process goes on with what the database says is another's",
        file=OWNER,
        old="if active.taken_at < report.asked_at and execution_id not in owned",
        new="if False and execution_id not in owned",
        tests=(f"{OWNED}::test_executions_that_the_database_says_are_not_ours_are_dropped",),
    ),
    Mutant(
        name="begun-in-vain-goes-on",
        why="an execution that was never accepted acts all the same",
        file=OWNER,
        old="        if accepted:\n            active.loop.accept()",
        new="        if True:\n            active.loop.accept()",
        tests=(f"{OWNED}::test_what_was_begun_in_vain_is_dropped_without_a_trace",),
    ),
    Mutant(
        name="renewed-though-the-loop-hangs",
        why="a process that hangs keeps all its executions for ever",
        file=LEASE,
        old="if self._now() - self._ticked_at > LOOP_SILENCE_MAX_S:",
        new="if False:",
        tests=(f"{KEPT}::test_nothing_is_renewed_while_the_event_loop_is_silent",),
    ),
    Mutant(
        name="deadline-from-the-answer",
        why="after a slow renewal the holder believes in its lease longer than the database does",
        file=LEASE,
        old="        if renewal is not None:\n            self._deadline = asked_at +",
        new="        if renewal is not None:\n            self._deadline = self._now() +",
        tests=(f"{KEPT}::test_the_time_that_a_renewal_takes_is_not_the_holders",),
    ),
    Mutant(
        name="deadline-from-the-registration",
        why="after a slow registration the holder believes in its lease longer than the database does",
        file=LEASE,
        old="self._leases.register(self._holder, self._times.ttl_ms)\n        self._deadline = asked_at +",
        new="self._leases.register(self._holder, self._times.ttl_ms)\n        self._deadline = self._now() +",
        tests=(f"{KEPT}::test_the_time_that_a_registration_takes_is_not_the_holders",),
    ),
    Mutant(
        name="valid-though-lost",
        why="between the loss of a lease and the next one something visible starts",
        file=LEASE,
        old='        self._deadline = 0.0\n        self._log.warning("lease.lost"',
        new='        self._log.warning("lease.lost"',
        tests=(f"{KEPT}::test_nothing_visible_may_start_between_the_loss_of_a_lease_and_the_next",),
    ),
    Mutant(
        name="verdict-of-another-part",
        why="one execution is told what became of another: the fenced one goes on, the other stops",
        file=WRITER,
        old="in zip(part, answers, strict=True):",
        new="in zip(part, answers[::-1], strict=True):",
        tests=(f"{WRITTEN}::test_what_comes_during_a_flush_goes_together_and_in_order",),
    ),
    Mutant(
        name="cancelled-waiter-ends-the-writer",
        why="after one caller has gone away nothing is ever written again",
        file=WRITER,
        old="                if not waiting.answer.done():",
        new="                if True:",
        tests=(f"{WRITTEN}::test_a_cancelled_waiter_does_not_kill_the_writer",),
    ),
    Mutant(
        name="neighbour-fails-with-a-bad-row",
        why="one bad row of one workspace fails the executions of all others in its batch",
        file=WRITER,
        old="if len(part) == 1 or isinstance(error, StoreUnavailable):",
        new="if True:",
        tests=(f"{WRITTEN}::test_only_the_bad_item_fails",),
    ),
)

OF_ENGINE = (*VISIBLE, *DECIDED, *OWNED_HERE)
