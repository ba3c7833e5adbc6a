import json

import pytest

from cluster.client import Client, is_ready, messages
from workflow.errors import Conflict, InvalidDefinition, NotFound, Unavailable

from .fake_api import running_api, sse

EXECUTIONS = "/api/v1/workspaces/w/executions"


@pytest.fixture
def api():
    with running_api() as running:
        yield running


@pytest.fixture
def client(api):
    with Client(api.base_url, "w", "key", pause=lambda _seconds: None) as made:
        yield made


def test_execute_sends_definition_input_and_key(api, client):
    api.answer("POST", EXECUTIONS, 200, {"id": "e", "status": "completed"})
    assert client.execute(b'{"nodes":[]}', {"a": 1}, wait_s=3)["status"] == "completed"
    _, _, query, headers, body = api.asked[0]
    assert query == "wait=3"
    assert {name.lower(): value for name, value in headers.items()}["x-api-key"] == "key"
    assert json.loads(body) == {"definition": {"nodes": []}, "input": {"a": 1}}


def test_findings_are_carried(api, client):
    finding = {"severity": "error", "code": "unknown_type", "node_id": "n1", "field": "type", "message": "no such type"}
    problem = {"code": "invalid_definition", "detail": "the definition has 1 error", "findings": [finding]}
    api.answer("POST", EXECUTIONS, 422, problem)
    with pytest.raises(InvalidDefinition) as caught:
        client.execute(b"{}", {})
    assert caught.value.fields["findings"] == [finding]


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (503, Unavailable)])
def test_problems_become_errors_of_ours(api, client, status, kind):
    api.answer("GET", f"{EXECUTIONS}/e", status, {"code": "some_code", "detail": "what is wrong"})
    with pytest.raises(kind, match="what is wrong") as caught:
        client.execution("e")
    assert caught.value.code == "some_code"


def test_an_answer_that_is_not_ours(api, client):
    api.answer("GET", f"{EXECUTIONS}/e", 502, "<html>bad gateway</html>")
    with pytest.raises(Unavailable, match="the API answered 502"):
        client.execution("e")
    api.answer("GET", f"{EXECUTIONS}/e", 200, "<html>hello</html>")
    with pytest.raises(Unavailable, match="not a JSON object"):
        client.execution("e")


STARTING = (404, "Path '/api/v1' not found. Ping http://.../-/routes for available routes.")


def test_the_proxy_of_an_api_that_starts_is_asked_again(api):
    pauses: list[float] = []
    api.answer("POST", EXECUTIONS, *STARTING, STARTING, (202, {"id": "e"}))
    with Client(api.base_url, "w", "key", pause=pauses.append) as client:
        assert client.execute(b"{}", {}) == {"id": "e"}
    assert pauses == [0.5, 0.5]
    assert len({body for *_, body in api.asked}) == 1, "it is the same request each time"


def test_an_api_that_does_not_get_ready_is_unavailable_and_not_absent(api):
    pauses: list[float] = []
    api.answer("GET", f"{EXECUTIONS}/e", *STARTING)
    with Client(api.base_url, "w", "key", pause=pauses.append) as client, pytest.raises(Unavailable) as caught:
        client.execution("e")
    assert caught.value.code == "api_starting"
    assert (len(api.asked), sum(pauses)) == (30, 14.5)


def test_a_404_of_the_api_itself_is_believed_at_once(api, client):
    with pytest.raises(NotFound):
        client.execution("e")
    assert len(api.asked) == 1


def test_a_stream_goes_on_when_the_api_is_there_again(api, client):
    path = f"{EXECUTIONS}/e/events"
    api.answer("GET", path, *STARTING, (200, sse((1, "execution.completed", {}))))
    api.answer("GET", f"{EXECUTIONS}/e", *STARTING, (200, {"status": "running"}))
    assert [message.seq for message in client.follow("e")] == [1]


def test_no_api():
    with Client("http://127.0.0.1:9", "w", "key") as client, pytest.raises(Unavailable, match="does not answer"):
        client.execution("e")
    assert not is_ready("http://127.0.0.1:9", 1.0)


def test_nodes_of_all_pages(api, client):
    page = {"items": [{"node_id": "a"}], "next_cursor": "c"}
    api.answer("GET", f"{EXECUTIONS}/e/nodes", 200, page, (200, {"items": [{"node_id": "b"}], "next_cursor": None}))
    assert [node["node_id"] for node in client.nodes("e")] == ["a", "b"]
    assert api.asked[1][2] == "cursor=c"


def test_a_broken_stream_is_taken_up_after_the_last_message(api, client):
    path = f"{EXECUTIONS}/e/events"
    first = sse((1, "execution.started", {}), (2, "node.started", {"node_id": "a"}))
    api.answer("GET", path, 200, first, (200, sse((3, "execution.completed", {}))))
    api.answer("GET", f"{EXECUTIONS}/e", 200, {"status": "running"})
    assert [message.seq for message in client.follow("e")] == [1, 2, 3]
    resumed = [headers for method, asked, _, headers, _ in api.asked if asked == path][1]
    assert {name.lower(): value for name, value in resumed.items()}["last-event-id"] == "2"


def test_a_stream_that_is_over_already_ends(api, client):
    api.answer("GET", f"{EXECUTIONS}/e/events", 204, "")
    api.answer("GET", f"{EXECUTIONS}/e", 200, {"status": "completed"})
    assert list(client.follow("e")) == []


def test_a_stream_that_never_works_gives_up(api, client):
    api.answer("GET", f"{EXECUTIONS}/e/events", 200, "")
    api.answer("GET", f"{EXECUTIONS}/e", 200, {"status": "running"})
    with pytest.raises(Unavailable, match="goes on all the same"):
        list(client.follow("e"))


def test_unnumbered_frames_and_heartbeats_are_passed_over():
    lines = [
        ": hi",
        "",
        "event: token",
        'data: {"t":1}',
        "",
        "id:4",
        "event:node.completed",
        'data:{"a":',
        "data:2}",
        "",
    ]
    found = list(messages(iter(lines)))
    assert [(one.seq, one.kind, one.data) for one in found] == [(4, "node.completed", {"a": 2})]


def test_health_is_told_whatever_its_status(api, client):
    api.answer("GET", "/health/ready", 503, {"database": "down"})
    assert client.health() == {"database": "down", "ready": False}
    assert not is_ready(api.base_url, 1.0)
    api.answer("GET", "/health/ready", 200, {})
    assert is_ready(api.base_url, 1.0)
