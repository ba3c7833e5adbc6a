"""Mutants of models: keys, budgets, answers that are paid for once, agents, GPUs."""

from tests.mutants.mutant import Mutant

OF_MODELS = (
    Mutant(
        name="key-for-any-address",
        why="a workflow names an address of its own and is sent the instance's key for a provider",
        file="actors/provider_errors.py",
        old='if api_key or (base_url and base_url.rstrip("/") != provider.base_url.rstrip("/")):',
        new="if api_key:",
        tests=("tests/unit/actors/test_openai_chat.py::test_the_configured_key_goes_to_the_configured_address_alone",),
    ),
    Mutant(
        name="budget-not-asked-for-answers",
        why="language models are asked although the budget is used up",
        file="actors/recorded.py",
        old="        await self.allow()\n        begun, under_way = perf_counter(), UnderWay()\n",
        new="        begun, under_way = perf_counter(), UnderWay()\n",
        tests=(
            "tests/unit/actors/test_recorded.py::test_no_kind_of_call_is_made_once_the_budget_of_the_execution_is_used_up",
        ),
    ),
    Mutant(
        name="broken-call-is-free",
        why="a call that is cancelled or breaks off is in no books, and budgets do not know of it",
        file="actors/recorded.py",
        old="            await self._note_left(under_way, begun)\n",
        new="",
        tests=(
            "tests/unit/actors/test_broken_calls.py::test_who_is_cancelled_in_the_middle_of_an_answer_has_used_what_came",
        ),
    ),
    Mutant(
        name="tools-of-an-agent-keep-their-secrets",
        why="a viewer reads the password in the node that a tool of an agent is",
        file="workflow/secrets.py",
        old="            if held and at != place and _is_node(value):\n",
        new="            if False:\n",
        tests=("tests/unit/workflow/test_secrets.py::test_a_secret_is_hidden_wherever_it_stands",),
    ),
    Mutant(
        name="what-stands-for-a-secret-is-stored",
        why="a document that a viewer was shown, written back, replaces the key in it",
        file="workflow/compile.py",
        old="        for place in hidden_places(config):\n",
        new="        for place in ():\n",
        tests=(
            "tests/unit/workflow/test_secrets.py::test_a_document_that_was_shown_without_its_secrets_is_not_stored",
        ),
    ),
    Mutant(
        name="answer-used-before-it-is-kept",
        why="a crash between an answer and its use pays for the answer again",
        file="nodes/chats.py",
        old="        kept = await context.effects.keep(_packed(answer), name)\n",
        new="        kept = _packed(answer)\n",
        tests=("tests/unit/nodes/test_ai_llm.py::test_what_was_answered_once_is_not_paid_for_again",),
    ),
    Mutant(
        name="call-before-the-approval",
        why="an agent calls a tool that somebody must approve before anybody has",
        file="nodes/ai_agent.py",
        old=(
            "            if isinstance(decided, Suspend):\n"
            "                work.waits = True\n"
            '                return ""\n'
            "            if decided.status is not RequestStatus.APPROVED:\n"
        ),
        new="            if isinstance(decided, Request) and decided.status is not RequestStatus.APPROVED:\n",
        tests=("tests/unit/nodes/test_ai_agent.py::test_a_call_that_somebody_must_approve",),
    ),
    Mutant(
        name="refused-call-is-made",
        why="an agent calls a tool although somebody has refused the call",
        file="nodes/ai_agent.py",
        old="            if decided.status is not RequestStatus.APPROVED:\n",
        new="            if False:\n",
        tests=("tests/unit/nodes/test_ai_agent.py::test_a_call_that_somebody_must_approve",),
    ),
    Mutant(
        name="required-gpu-is-a-wish",
        why="work that requires a GPU runs without one, or waits for ever",
        file="actors/room.py",
        old="        elif call.gpu is Gpu.REQUIRED:\n",
        new="        elif False:\n",
        tests=("tests/unit/actors/test_room.py::test_a_gpu_that_is_required_and_is_not_there_is_an_error_at_once",),
    ),
    Mutant(
        name="draft-of-a-failed-attempt-stays",
        why="who reads along takes what a failed attempt wrote for a part of the answer",
        file="actors/drafting.py",
        old="        if again or self._attempt > 1 or item_index in self._begun:\n",
        new="        if again or item_index in self._begun:\n",
        tests=("tests/unit/actors/test_drafting.py::test_another_attempt_takes_back_what_the_one_before_has_written",),
    ),
)
