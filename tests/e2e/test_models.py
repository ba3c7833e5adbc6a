"""Models of a whole Rayloom: a replica comes with the first work, and batches what executions bring at once."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.instance import RunningInstance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

AT_ONCE = 24


@pytest.fixture(scope="module")
def instance() -> Iterator[RunningInstance]:
    made = RunningInstance("haproxy", POOL__SIZE=2, RAY__OBJECT_STORE_MB=100)
    try:
        made.up()
        yield made
    finally:
        made.close()


def embedding(**fields: Any) -> dict[str, Any]:
    node = {"id": "embed", "type": "ai.embed", "config": {"text": "{{ $json.t }}"}, **fields}
    return {
        "name": "embedding",
        "nodes": [{"id": "start", "type": "trigger.manual"}, node],
        "connections": [{"source": "start", "target": "embed"}],
    }


def test_executions_at_once_share_batches_and_each_gets_its_own_vectors(instance: RunningInstance):
    workflow = instance.api.create_workflow(embedding())
    first = instance.api.execute(workflow, [{"t": "text 0"}, {"t": "text 1"}], wait=90).json()
    assert first["status"] == "completed", first
    answers: dict[int, list[float]] = {}

    def ask(number: int) -> None:
        shown = instance.api.execute(workflow, [{"t": f"text {number}"}], wait=60).json()
        answers[number] = shown["output"]["embed"][0]["embedding"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == AT_ONCE
    for number in (0, 1):
        alone = first["output"]["embed"][number]["embedding"]
        products = {other: sum(a * b for a, b in zip(alone, row, strict=True)) for other, row in answers.items()}
        assert products[number] > 0.99, "in another batch, it means the same"
        assert max(products, key=products.__getitem__) == number
    assert len(instance.titled("ray::ServeReplica:rayloom-embed-")) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"resources": {"gpu": "required"}}, "gpu_unavailable"),
        ({"config": {"text": "x", "model": "not there"}}, "model_unknown"),
    ],
)
def test_what_cannot_be_had_is_refused_at_once(instance: RunningInstance, fields: dict[str, Any], code: str):
    shown = instance.api.execute(embedding(**fields), [{"t": "x"}], wait=30).json()

    assert (shown["status"], shown["error"]["code"]) == ("failed", code)


def test_what_replicas_hold_is_listed_with_the_time_it_took_and_the_memory_it_has(instance: RunningInstance):
    instance.api.execute(embedding(), [{"t": "so that there is a replica"}], wait=90)

    listed = instance.api.http.get(f"{instance.api.workspace}/models").json()

    models = {model["name"]: model for model in listed["items"]}
    held = models["all-minilm-l6-v2"]
    (replica,) = instance.titled("ray::ServeReplica:rayloom-embed-")
    assert (held["kind"], held["default"], held["replicas"]) == ("embed", True, 1)
    assert held["replica"]["pid"] == replica.pid
    assert held["replica"]["load_s"] > 0
    assert held["replica"]["memory_mib"] > 100
    assert (models["smollm2-135m-instruct"]["replicas"], models["smollm2-135m-instruct"]["replica"]) == (0, None)
    providers = {provider["name"]: provider for provider in listed["providers"]}
    assert (providers["local"]["default"], providers["openai"]["has_key"]) == (True, False)
    assert "api_key" not in str(listed)
