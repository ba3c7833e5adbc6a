"""An instance of its own with Ray's default proxy, which cancels what a client's request began; and with actors that are
replaced after twenty executions. Runs in a pytest process of its own.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from uuid import UUID

import pytest

from tests.chaos.clients import FAR_AND_NEAR, disconnect_while_waiting
from tests.chaos.conftest import SMALL
from tests.chaos.work import assert_each_completed_once, branching, chain, epochs, expected, given, node
from tests.instance import RunningInstance

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

EXECUTIONS_MAX = 20


@pytest.fixture(scope="module")
def recycling(request: pytest.FixtureRequest) -> Iterator[RunningInstance]:
    made = RunningInstance("ray", **SMALL, POOL__EXECUTIONS_MAX=EXECUTIONS_MAX)
    try:
        made.up()
        yield made
    finally:
        made.close(keep_logs=bool(request.session.testsfailed))


@pytest.fixture
def instance(recycling: RunningInstance) -> RunningInstance:
    recycling.until_healthy()
    assert not recycling.titled("haproxy")
    assert not [known for known in recycling.look() if "haproxy" in known.what.split(" ")[0]]
    return recycling


def test_an_execution_goes_on_when_its_client_disconnects(instance):
    begun = {disconnect_while_waiting(instance): 1 for _ in range(3)}
    assert_each_completed_once(instance, begun, 30, FAR_AND_NEAR)
    assert set(epochs(instance, begun).values()) == {1}, "nobody had to take it over"
    tasks = instance.rows(
        "SELECT placement, status FROM node_executions WHERE execution_id = ANY(%s) AND node_id = 'far'", list(begun)
    )
    assert tasks == [("task", "completed")] * 3


def test_nothing_is_lost_while_actors_are_replaced_under_load(instance, record_property):
    """Pushes meet actors that drain or have just gone: such an execution is queued, and completes."""
    quick = instance.api.create_workflow(chain("quick", node("end", "data.set", values={"done": True})))
    slow = instance.api.create_workflow(branching())
    replaced = "SELECT count(*) FROM leases WHERE end_reason = 'released' AND dedicated_to IS NULL"
    ((before,),) = instance.rows(replaced)
    begun: dict[UUID, int] = {}
    statuses: Counter[int] = Counter()

    def client(number: int) -> None:
        workflow = slow if number % 10 == 0 else quick
        answer = instance.api.execute(workflow, given(number), wait=20)
        statuses[answer.status_code] += 1
        body = answer.json()
        begun[UUID(body["id"])] = number
        if workflow == slow:
            assert body["output"] == expected(number)

    began_s, number = monotonic(), 0
    with ThreadPoolExecutor(8) as clients:
        while monotonic() - began_s < 40 and instance.rows(replaced)[0][0] < before + 4:
            list(clients.map(client, range(number, number + 40)))
            number += 40
    ((after,),) = instance.rows(replaced)
    record_property("actors_replaced", after - before)
    print(f"{number} executions, {after - before} actors replaced in {monotonic() - began_s:.1f} s, answers {statuses}")

    assert after - before >= 4
    assert statuses == {200: number}, "every client had its result at once"
    slow_ones = {identity: n for identity, n in begun.items() if n % 10 == 0}
    assert_each_completed_once(instance, slow_ones, 20)
    quick_ones = {identity: n for identity, n in begun.items() if n % 10}
    assert_each_completed_once(instance, quick_ones, 20, ("start", "end"))
    ends = {reason for (reason,) in instance.rows("SELECT DISTINCT end_reason FROM leases WHERE ended_at IS NOT NULL")}
    assert ends == {"released"}, "nobody crashed and no lease ran out"
