"""One whole Rayloom for all chaos tests of a pytest process; each test finds it healthy and gives back the time it took."""

from collections.abc import Iterator

import pytest

from tests.chaos.witness import Witness, witness_at
from tests.instance import RunningInstance

SMALL = {"POOL__SIZE": 2, "RAY__NUM_CPUS": 2, "RAY__OBJECT_STORE_MB": 100}


@pytest.fixture(scope="session")
def witness() -> Iterator[Witness]:
    """A server outside of the instance that sees the effects of its workflows."""
    with witness_at(0) as served:
        yield served


@pytest.fixture(scope="session")
def whole(request: pytest.FixtureRequest, witness: Witness) -> Iterator[RunningInstance]:
    """An instance with HAProxy, as users get it, whose workflows may reach the witness."""
    made = RunningInstance("haproxy", **SMALL, OUTBOUND__ALLOW=f'["127.0.0.1:{witness.port}"]')
    try:
        made.up()
        yield made
    finally:
        made.close(keep_logs=bool(request.session.testsfailed))


@pytest.fixture
def instance(whole: RunningInstance) -> RunningInstance:
    """The instance, healthy; one that a test has left in ruins is started again."""
    try:
        whole.until_healthy(40)
    except AssertionError as ill:
        print(f"\nstarting it again: {ill}")
        whole.down()
        whole.up()
        whole.until_healthy()
    return whole
