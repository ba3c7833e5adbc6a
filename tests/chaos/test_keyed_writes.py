"""kill -9 of replicas of the API among keyed writes: whoever asks until there is an answer has what was asked for once."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import httpx2
import pytest

from tests.instance import RunningInstance, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

CLIENTS = 16
ROUNDS = 6
DOCUMENT = {"nodes": [{"id": "a", "type": "data.set", "config": {"values": {"x": 1}}}]}


def ask(instance: RunningInstance, method: str, path: str, body: Any, key: str, failures: list[str]) -> httpx2.Response:
    """Ask as a client should: again with the same key, until there is an answer."""
    deadline_s = monotonic() + 90
    while monotonic() < deadline_s:
        try:
            answer = instance.api.http.request(
                method, f"{instance.api.workspace}/{path}", json=body, headers={"Idempotency-Key": key}
            )
        except httpx2.HTTPError as error:
            failures.append(type(error).__name__)
        else:
            if answer.status_code < 300:
                return answer
            failures.append(f"{answer.status_code} {answer.text[:200]}")
            assert answer.status_code >= 500 or answer.json()["code"] == "idempotency_key_in_use", answer.text
        sleep(0.1)
    raise AssertionError(f"{key} has had no answer: {failures[-20:]}")


def test_replicas_are_killed_among_keyed_writes(instance):
    replicas = instance.titled("ray::ServeReplica:rayloom:api")
    assert len(replicas) == 2
    failures: list[str] = []

    def client(number: int) -> list[tuple[str, httpx2.Response]]:
        answers = []
        for turn in range(ROUNDS):
            name = f"keyed-{number}-{turn}"
            made = ask(instance, "POST", "workflows", {"name": name, **DOCUMENT}, f"{name}-made", failures)
            path = f"workflows/{made.json()['id']}"
            changed = ask(instance, "PUT", path, {"name": name, **DOCUMENT}, f"{name}-changed", failures)
            brought = ask(
                instance, "POST", "workflows/import", [{"name": name, **DOCUMENT}] * 2, f"{name}-brought", failures
            )
            answers += [("made", made), ("changed", changed), ("brought", brought)]
        return answers

    with ThreadPoolExecutor(CLIENTS) as clients:
        running = [clients.submit(client, number) for number in range(CLIENTS)]
        for killed, share in zip(replicas, (1, 2), strict=True):
            enough = share * CLIENTS * ROUNDS
            until(
                lambda enough=enough: (
                    instance.rows("SELECT count(*) >= %s FROM idempotent_writes WHERE key LIKE 'keyed-%%'", enough)
                    == [(True,)]
                ),
                60,
                f"{enough} writes have begun",
            )
            killed.kill()
        ended = [answer for one in running for answer in one.result()]

    assert failures, "the killed replicas had clients waiting"
    again = [one for one in failures if "in_use" in one]
    print(f"clients were refused {len(failures)} times, {len(again)} times because the first request was under way")
    total = CLIENTS * ROUNDS
    rows = instance.rows("SELECT count(*) FROM workflows WHERE name LIKE 'keyed-%'")
    assert rows == [(3 * total,)], "one made and two brought of each, and none twice"
    versions = (
        "SELECT v.version, count(*) FROM workflow_versions v WHERE v.name LIKE 'keyed-%' "
        "GROUP BY v.version ORDER BY v.version"
    )
    assert instance.rows(versions) == [(1, 3 * total), (2, total)]
    assert {answer.json()["version"] for what, answer in ended if what == "changed"} == {2}
    assert instance.rows("SELECT count(*) FROM idempotent_writes WHERE key LIKE 'keyed-%' AND status IS NOT NULL") == [
        (3 * total,)
    ]
