"""Mutants of what waits: rests, wishes, wake-ups, requests, children, in the statements and in the machine."""

from tests.mutants.mutant import Mutant
from tests.mutants.of_store import on_postgres

STATEMENTS, READING, CONTROL = "store/statements.py", "store/reading.py", "store/migrations/versions/0005_control.py"
REQUESTS, INBOX, CHILDREN = "store/requests.py", "store/inbox.py", "store/children.py"
MACHINE, FLOW, EXECUTION = "workflow/machine.py", "workflow/flow.py", "actors/execution.py"
RESTING = "tests/contract/test_rest.py"
ASKING = "tests/integration/store/test_asking.py"
STEPPED = "tests/unit/workflow/test_machine_waiting.py"
WAITING = "tests/unit/actors/test_waiting.py"

RESTS = (
    Mutant(
        name="rest-keeps-the-owner",
        why="an execution that waits counts as its former owner's, and is taken for lost when that one ends",
        file=STATEMENTS,
        old="owner = CASE WHEN p.wake_ms IS NULL THEN e.owner END,",
        new="",
        tests=(f"{RESTING}::test_what_rests_has_no_owner_and_shows_when_it_wakes[postgres-None-waiting]",),
    ),
    Mutant(
        name="claim-keeps-the-time",
        why="an execution that is under way is looked at by every claim as if it were due",
        file=STATEMENTS,
        old="alone = false, wake_at = NULL,",
        new="alone = false,",
        tests=on_postgres(RESTING, "test_whoever_let_go_is_fenced_by_the_next_owner"),
    ),
    Mutant(
        name="claim-before-the-time",
        why="what waits for tomorrow is taken up and laid down again without end",
        file=STATEMENTS,
        old="FROM executions w WHERE w.wake_at <= statement_timestamp()",
        new="FROM executions w WHERE w.wake_at IS NOT NULL",
        tests=(f"{RESTING}::test_it_wakes_when_it_is_due_and_not_before[postgres-waiting]",),
    ),
    Mutant(
        name="time-comes-for-nobody",
        why="what waits for a time waits for ever (G1)",
        file=STATEMENTS,
        old="FROM executions w WHERE w.wake_at <= statement_timestamp()",
        new="FROM executions w WHERE false",
        tests=(f"{RESTING}::test_it_wakes_when_it_is_due_and_not_before[postgres-waiting]",),
    ),
    Mutant(
        name="wake-up-takes-up-the-paused",
        why="an execution that is paused is taken up and laid down again without end",
        file=STATEMENTS,
        old="AND e.status = me.waiting\n        LIMIT",
        new="AND e.status IN (me.waiting, me.paused)\n        LIMIT",
        tests=on_postgres(RESTING, "test_a_wake_up_takes_up_what_waits_and_nothing_that_is_paused"),
    ),
    Mutant(
        name="wake-up-takes-up-the-paused-by-name",
        why="a paused execution with an actor of its own is started again and again",
        file=STATEMENTS,
        old="(s.kind <> 'wake' OR e.status = 'waiting')",
        new="true",
        tests=on_postgres(RESTING, "test_a_dedicated_one_that_rests_is_claimable_by_name_when_it_is_awake"),
    ),
    Mutant(
        name="wake-up-takes-up-nothing",
        why="an answer, or the end of a child, reaches nobody (G1)",
        file=STATEMENTS,
        old="AND s.kind = 'wake' AND e.isolation",
        new="AND false AND e.isolation",
        tests=on_postgres(RESTING, "test_a_wake_up_that_came_before_the_rest_takes_it_up_at_once"),
    ),
    Mutant(
        name="wish-takes-up-nothing-that-rests",
        why="what waits or is paused can neither be stopped nor resumed (G1)",
        file=STATEMENTS,
        old="(e.status IN (me.waiting, me.paused)\n        OR",
        new="(false\n        OR",
        tests=(f"{RESTING}::test_a_wish_takes_it_up_whatever_its_time[postgres-paused]",),
    ),
    Mutant(
        name="first-wish-counts",
        why="somebody resumes what is about to pause, and both wishes stand",
        file=READING,
        old="WHERE j.fits AND s.execution_id = j.id",
        new="WHERE j.fits AND false AND s.execution_id = j.id",
        tests=(f"{RESTING}::test_the_last_wish_counts_whether_anybody_has_heard_the_first[postgres-running]",),
    ),
    Mutant(
        name="resume-though-nobody-paused",
        why="somebody is told that an execution goes on which nobody had paused",
        file=READING,
        old="WHEN 'resume' THEN status = 'paused' OR pausing",
        new="WHEN 'resume' THEN true",
        tests=on_postgres(RESTING, "test_nobody_can_resume_what_was_resumed"),
    ),
)

ASKS = (
    Mutant(
        name="ask-without-epoch",
        why="a former owner asks people about an execution that another one has by now (G3)",
        file=REQUESTS,
        old="WHERE epoch = %(epoch)s AND status = 'running'",
        new="WHERE status = 'running' AND %(epoch)s::bigint IS NOT NULL",
        tests=(f"{ASKING}::test_only_the_present_owner_asks",),
    ),
    Mutant(
        name="answers-overwrite-each-other",
        why="of two approvals at the same time one is lost, and a third person has to be asked",
        file=INBOX,
        old="WHERE id = %(id)s FOR UPDATE",
        new="WHERE id = %(id)s",
        tests=(f"{ASKING}::test_answers_at_the_same_time_all_count",),
    ),
    Mutant(
        name="answer-to-what-is-ending",
        why="somebody is told that a decision was taken which nobody will ever read",
        file=INBOX,
        old="WHERE id = %(execution)s FOR SHARE",
        new="WHERE id = %(execution)s",
        tests=(f"{ASKING}::test_no_answer_is_taken_for_what_is_just_ending",),
    ),
    Mutant(
        name="answer-wakes-nobody",
        why="an execution whose request was answered waits for ever (G1)",
        file=INBOX,
        old="FROM decided\n    WHERE status <> 'pending'",
        new="FROM decided\n    WHERE status = 'pending'",
        tests=(f"{ASKING}::test_what_is_answered_does_not_time_out",),
    ),
    Mutant(
        name="time-out-overwrites-the-answer",
        why="what somebody has decided is undone because it is read late",
        file=REQUESTS,
        old="    AND status = 'pending' AND expires_at",
        new="    AND expires_at",
        tests=(f"{ASKING}::test_what_is_answered_does_not_time_out",),
    ),
    Mutant(
        name="answer-when-time-is-over",
        why="somebody approves what the time has decided already, because its owner is late",
        file=INBOX,
        old="    WHEN r.expires_at <= clock_timestamp() THEN 'timeout' ELSE",
        new="    ELSE",
        tests=(
            f"{ASKING}::test_no_answer_counts_when_the_time_is_over_although_no_owner_has_come_to_it",
            f"{ASKING}::test_requests_are_listed_as_they_stand",
        ),
    ),
    Mutant(
        name="decision-when-time-is-over",
        why="an answer is taken that was judged in time and decides after it",
        file=INBOX,
        old=" AND (expires_at IS NULL OR expires_at > clock_timestamp())",
        new="",
        tests=(f"{ASKING}::test_an_answer_whose_decision_comes_after_the_time_is_refused",),
    ),
    Mutant(
        name="withdrawn-with-the-others",
        why="a branch that is given up closes what other branches still ask",
        file=REQUESTS,
        old="WHERE kept.node_id = r.node_id AND kept.run_index = r.run_index)",
        new="WHERE false)",
        tests=(f"{ASKING}::test_what_is_kept_is_not_withdrawn",),
    ),
    Mutant(
        name="child-ends-unheard",
        why="a parent waits for ever for a child that has ended (G1)",
        file=CONTROL,
        old="WHEN (NEW.parent_node_id <> '' AND",
        new="WHEN (false AND",
        tests=(f"{ASKING}::test_the_end_of_a_child_wakes_its_parent_and_nothing_before_it_does",),
    ),
    Mutant(
        name="child-wakes-before-its-end",
        why="a parent is taken up for every rest of every child",
        file=CONTROL,
        old="AND NEW.status IN ({ENDS}) AND OLD.status <> NEW.status)",
        new="AND OLD.status <> NEW.status)",
        tests=(f"{ASKING}::test_the_end_of_a_child_wakes_its_parent_and_nothing_before_it_does",),
    ),
    Mutant(
        name="child-locks-its-parent",
        why="a parent that cancels its children and a child that ends wait for each other",
        file=CONTROL,
        old="AND p.status NOT IN ({ENDS});",
        new="AND p.status NOT IN ({ENDS}) FOR SHARE;",
        tests=(
            f"{ASKING}::test_a_child_that_ends_while_its_parent_is_letting_go_wakes_it",
            "tests/integration/store/test_flush_locks.py::test_a_flush_that_ends_a_child_waits_for_no_flush_of_its_parent",
        ),
    ),
    Mutant(
        name="child-ends-beside-a-wake-up",
        why="a parent takes up the wake-up of one child, looks before another one's end is committed, and waits for ever (G1)",
        file=CONTROL,
        old="AND p.status NOT IN ({ENDS});",
        new="AND p.status NOT IN ({ENDS}) AND NOT EXISTS (SELECT FROM signals WHERE execution_id = p.id AND read_at IS NULL);",
        tests=(
            "tests/integration/store/test_children.py::test_a_wake_up_is_not_left_out_because_another_one_is_just_being_read",
        ),
    ),
    Mutant(
        name="children-without-epoch",
        why="a former owner starts executions in the name of the present one (G3)",
        file=CHILDREN,
        old="WHERE o.epoch = %(epoch)s AND o.status = 'running' AND r.found",
        new="WHERE r.found",
        tests=(f"{ASKING}::test_only_the_present_owner_starts_children",),
    ),
    Mutant(
        name="children-of-any-depth",
        why="executions start others until the disk is full",
        file=CHILDREN,
        old="\n        AND o.depth < %(depth_max)s",
        new="\n        AND %(depth_max)s::int IS NOT NULL",
        tests=(f"{ASKING}::test_nothing_is_started_below_the_deepest",),
    ),
    Mutant(
        name="children-in-a-circle",
        why="a workflow that executes itself does so down to the greatest depth",
        file=CHILDREN,
        old="AND r.found AND NOT r.circular",
        new="AND r.found",
        tests=(f"{ASKING}::test_a_workflow_that_is_under_way_above_is_not_started_below_itself",),
    ),
    Mutant(
        name="children-without-a-deadline",
        why="a child works on after the time of whoever waits for it is over",
        file=CHILDREN,
        old="CASE WHEN r.awaited = 1 THEN to_timestamp(%(deadline_ms)s / 1000.0) END",
        new="CASE WHEN r.awaited = 9 THEN to_timestamp(%(deadline_ms)s / 1000.0) END",
        tests=(f"{ASKING}::test_a_child_has_no_more_time_than_its_parent_unless_nobody_waits_for_it",),
    ),
)

STEPS = (
    Mutant(
        name="begins-while-paused",
        why="an execution that was paused goes on with node after node",
        file=FLOW,
        old="and not state.paused and",
        new="and",
        tests=(f"{STEPPED}::test_paused_nothing_begins_and_what_was_to_begin_begins_with_resuming",),
    ),
    Mutant(
        name="resumed-in-vain",
        why="an execution that was resumed does nothing, for ever (G1)",
        file=MACHINE,
        old="            commands = outstanding(state)\n            spread.run()",
        new="            commands = outstanding(state)",
        tests=(f"{STEPPED}::test_paused_nothing_begins_and_what_was_to_begin_begins_with_resuming",),
    ),
    Mutant(
        name="waits-again-for-a-former-time",
        why="a node that was woken waits again because its first wait is told a second time",
        file=MACHINE,
        old="index is None or event.wait != state.nodes[index].waits\n            return",
        new="index is None\n            return",
        tests=(f"{STEPPED}::test_a_wait_that_is_told_again_is_stale",),
    ),
    Mutant(
        name="woken-for-a-former-wait",
        why="a wake-up that comes twice ends the next wait of the node, too",
        file=MACHINE,
        old="or event.wait != state.nodes[index].waits:\n        return []\n    node",
        new=":\n        return []\n    node",
        tests=(f"{STEPPED}::test_a_wake_up_that_is_told_again_is_stale",),
    ),
    Mutant(
        name="given-up-but-waits",
        why="a node whose round was given up is woken, and its result is taken for that of the next round",
        file=FLOW,
        old="                state.waiting.discard(member)",
        new="                pass",
        tests=(f"{STEPPED}::test_what_waits_is_aborted_when_it_stops_or_its_try_ends",),
    ),
    Mutant(
        name="question-lost-in-a-crash",
        why="nobody is asked about a failed node when its owner dies before asking (G1)",
        file=MACHINE,
        old="    commands: list[Command] = _asked(state)",
        new="    commands: list[Command] = []",
        tests=(f"{STEPPED}::test_asked_again_it_is_another_request_and_the_next_owner_asks_the_same",),
    ),
    Mutant(
        name="wake-up-decides-about-a-failure",
        why="a failed node that somebody was asked about is tried again without a decision",
        file=MACHINE,
        old="if index is None or state.nodes[index].failed_with or event",
        new="if index is None or event",
        tests=(f"{STEPPED}::test_asked_again_it_is_another_request_and_the_next_owner_asks_the_same",),
    ),
)

WAITS = (
    Mutant(
        name="wake-up-too-early",
        why="an answer that comes while its node is about to wait is lost, and the node waits for ever (G1)",
        file="workflow/resting.py",
        old="return state.nodes[index].status is NodeStatus.RUNNING",
        new="return False",
        tests=(f"{WAITING}::test_a_wake_up_that_comes_before_the_node_waits_is_not_lost",),
    ),
    Mutant(
        name="wake-up-read-too-early",
        why="a wake-up that its owner only remembers is lost when that one dies (G1)",
        file=EXECUTION,
        old="self._too_early.append(signal)\n                return",
        new="self._too_early.append(signal)",
        tests=(f"{WAITING}::test_a_wake_up_that_comes_before_the_node_waits_is_not_lost",),
    ),
    Mutant(
        name="wake-up-never-read",
        why="an execution that waits again is taken up and laid down again without end",
        file=EXECUTION,
        old="                self._take_wake(signal)\n        self._journal.read_signal(signal.id)",
        new="                self._take_wake(signal)",
        tests=(f"{WAITING}::test_a_wake_up_is_read_with_the_event_that_it_causes",),
    ),
    Mutant(
        name="tried-again-while-paused",
        why="an execution that was paused never rests, for a node that fails is tried again",
        file=EXECUTION,
        old="or command.node in self._tasks or self._state.paused:",
        new="or command.node in self._tasks:",
        tests=(f"{WAITING}::test_while_paused_not_even_a_failed_node_is_tried_again",),
    ),
    Mutant(
        name="nothing-forsaken",
        why="people answer, and children work for, an execution that has ended",
        file=EXECUTION,
        old="        elif self._asks:\n",
        new="        elif False:\n",
        tests=(f"{WAITING}::test_what_is_asked_is_forsaken_before_a_bad_end",),
    ),
)

OF_RESTING = (*RESTS, *ASKS, *STEPS, *WAITS)
