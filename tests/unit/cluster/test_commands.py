"""The commands about workflows, executions and node types: what they ask of the API, what they print, how they end."""

import json
import os
import secrets
import sys

import pytest

from cluster import cli
from cluster.home import open_home, write_json

from .fake_api import running_api, sse

BASE = "/api/v1/workspaces/w"
ID = "0190b5a8-1111-7000-8000-000000000001"
WORKFLOW = {
    "id": ID,
    "name": "Orders",
    "status": "draft",
    "version": 2,
    "tags": ["a", "b"],
    "description": "what it is for",
    "updated_at": "2026-11-22T01:02:03.456Z",
    "definition": {
        "nodes": [{"id": "t", "type": "trigger.manual"}, {"id": "s", "type": "data.set", "name": "Set"}],
        "connections": [{"source": "t", "target": "s"}],
    },
    "warnings": [],
}
EXECUTION = {
    "id": ID,
    "status": "completed",
    "trigger_type": "api",
    "nodes_total": 2,
    "nodes_completed": 2,
    "output": {"s": [{"x": 1}]},
    "error": None,
    "timings": {"queued_at": "2026-11-22T01:02:03.456Z", "duration_ms": 12},
}
NODE = {
    "node_id": "s",
    "node_name": "Set",
    "node_type": "data.set",
    "run_index": 0,
    "status": "completed",
    "logs": "hi",
}
NODE_TYPE = {
    "type": "data.set",
    "title": "Set",
    "category": "data",
    "description": "Sets values.",
    "inputs": ["main"],
    "outputs": ["main"],
    "effect": "pure",
    "placement": "actor",
    "timeout_ms": 60000,
    "config_schema": {"type": "object"},
    "aliases": [],
    "examples": [{"title": "Sets one", "config": {"values": {}}, "items": [], "outputs": None}],
}
STATS = {
    "window": "24h",
    "total": 3,
    "counts": {"completed": 2, "failed": 1},
    "success_rate": 2 / 3,
    "durations": {"average_ms": 10.0, "p50_ms": 9.0, "p95_ms": 20.0},
    "buckets": [{"start": "2026-11-22T01:00:00Z", "total": 3, "counts": {}}, {"start": "x", "total": 0, "counts": {}}],
}
DIFF = {
    "before": 2,
    "after": 1,
    "functional": True,
    "nodes_added": [{"id": "n", "type": "data.set"}],
    "nodes_removed": [],
    "nodes_changed": [{"node_id": "s", "fields": [{"field": "config", "before": {"v": 1}, "after": {"v": 2}}]}],
    "connections_added": [{"source": "t", "target": "n", "sourceHandle": "main", "targetHandle": "main"}],
    "connections_removed": [],
    "fields_changed": [],
    "order_changed": False,
}
VERSION = {"version": 2, "name": "Orders", "created_at": "2026-11-22T01:02:03Z", "change_message": "why"}
EXPORT = {"format": "rayloom.workflow", "definition": {"name": "Orders"}, "removed": ["nodes.s.config.password"]}
SUM = {
    "calls": 2,
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "cost_usd": "0.0000012",
    "costs_unknown": 1,
    "estimates": 0,
}
USAGE = {
    "since": "2026-11-01",
    "until": "2026-11-30",
    "by": "workflow",
    "items": [{"key": ID, "name": "Orders", **SUM}, {"key": None, "name": None, **SUM}],
    "more": True,
    "total": SUM,
}
MODEL_CALL = {
    "at": "2026-11-22T01:02:03.456Z",
    "node_id": "s",
    "run_index": 2,
    "kind": "chat",
    "provider": "openai",
    "model": "gpt",
    "device": "cpu",
    "gpu_ids": ["0"],
    "batch_sizes": [64, 16],
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "estimated": True,
    "cost_usd": None,
    "duration_ms": 12.7,
}
DELETED = {"deleted": 1, "not_deleted": [], "more": False}


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("RAYLOOM_", "RAY_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAYLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return open_home(tmp_path / "home", secrets.token_hex)


@pytest.fixture
def api(home):
    with running_api() as running:
        write_json(home.admin_file, {"base_url": running.base_url, "workspace_id": "w", "api_key": "key"})
        page = {"next_cursor": None}
        for method, path, answer in (
            ("GET", "workflows", {"items": [WORKFLOW], **page}),
            ("GET", f"workflows/{ID}", WORKFLOW),
            ("DELETE", f"workflows/{ID}", {}),
            ("GET", f"workflows/{ID}/versions", {"items": [VERSION], **page}),
            ("POST", f"workflows/{ID}/versions/1/restore", WORKFLOW),
            ("GET", f"workflows/{ID}/versions/1/diff", DIFF),
            ("GET", f"workflows/{ID}/export", EXPORT),
            ("POST", "workflows/import", {"items": [WORKFLOW]}),
            ("POST", "workflows/validate", {"valid": True, "findings": []}),
            *(("POST", f"workflows/{ID}/{action}", WORKFLOW) for action in ("activate", "deactivate", "unarchive")),
            ("GET", "executions", {"items": [EXECUTION], **page}),
            ("GET", f"executions/{ID}", EXECUTION),
            ("GET", f"executions/{ID}/nodes", {"items": [NODE], **page}),
            ("GET", f"executions/{ID}/events", sse((1, "execution.completed", {}))),
            *(
                ("POST", f"executions/{ID}/{wish}", {**EXECUTION, "status": "running"})
                for wish in ("cancel", "pause", "resume")
            ),
            *(("POST", f"executions/{ID}/{again}", {**EXECUTION, "status": "queued"}) for again in ("retry", "replay")),
            ("POST", "executions/bulk-delete", DELETED),
            ("GET", "executions/stats", STATS),
            ("GET", f"executions/{ID}/model-calls", {"items": [MODEL_CALL], "total": SUM, **page}),
            ("GET", "usage", USAGE),
        ):
            running.answer(method, f"{BASE}/{path}", 200, answer)
        running.answer("GET", "/api/v1/node-types", 200, {"items": [NODE_TYPE], **page})
        running.answer("GET", "/api/v1/node-types/data.set", 200, NODE_TYPE)
        yield running


@pytest.fixture
def rayloom(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rayloom", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        written = capsys.readouterr()
        assert "Traceback" not in written.out + written.err
        return ended.value.code or 0, written.out, written.err

    return call


@pytest.fixture
def document(tmp_path):
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps({"name": "w", "nodes": [{"id": "t", "type": "trigger.manual"}]}))
    return str(file)


COMMANDS = [
    (("workflows", "list"), "Orders", {"items": [WORKFLOW]}),
    (("workflows", "show", ID), "what it is for", WORKFLOW),
    (("workflows", "import", "FILE"), "Orders", {"items": [WORKFLOW]}),
    (("workflows", "export", ID), '"rayloom.workflow"', EXPORT),
    (("workflows", "validate", "FILE"), "valid", {"valid": True, "findings": []}),
    (("workflows", "validate", "FILE", "--remote"), "valid", {"valid": True, "findings": []}),
    (("workflows", "activate", ID), "draft", WORKFLOW),
    (("workflows", "deactivate", ID), "draft", WORKFLOW),
    (("workflows", "archive", ID), "draft", WORKFLOW),
    (("workflows", "unarchive", ID), "draft", WORKFLOW),
    (("workflows", "versions", ID), "why", {"items": [VERSION]}),
    (("workflows", "restore", ID, "1", "-m", "back"), "version 2", WORKFLOW),
    (("workflows", "diff", ID, "1"), '~ node s: config: {"v": 1} → {"v": 2}', DIFF),
    (("executions", "list", "--status", "completed", "--workflow", ID), "completed", {"items": [EXECUTION]}),
    (("executions", "show", ID), '"x": 1', {"execution": EXECUTION, "nodes": [NODE]}),
    (("executions", "watch", ID), "completed in 12.0 ms", {"execution": EXECUTION, "nodes": [NODE]}),
    (("executions", "cancel", ID), "asked to stop", {**EXECUTION, "status": "running"}),
    (("executions", "pause", ID), "asked to pause", {**EXECUTION, "status": "running"}),
    (("executions", "resume", ID), "asked to go on", {**EXECUTION, "status": "running"}),
    (("executions", "retry", ID), "was begun; it is queued", {**EXECUTION, "status": "queued"}),
    (("executions", "retry", ID, "--watch"), "completed in 12.0 ms", {"execution": EXECUTION, "nodes": [NODE]}),
    (("executions", "replay", ID, "--from", "s"), "was begun; it is queued", {**EXECUTION, "status": "queued"}),
    (("executions", "replay", ID, "--watch"), '"x": 1', {"execution": EXECUTION, "nodes": [NODE]}),
    (
        ("executions", "logs", ID),
        "hi",
        {"items": [{key: NODE[key] for key in ("node_id", "run_index", "status", "logs")}]},
    ),
    (("executions", "delete", ID, "--yes"), "1 deleted", DELETED),
    (("executions", "delete", "--before", "2026-01-01T00:00:00Z", "--yes"), "1 deleted", DELETED),
    (("executions", "stats"), "66.7% of those that ended completed", STATS),
    (("executions", "model-calls", ID), "openai/gpt", {"items": [MODEL_CALL], "total": SUM}),
    (("usage", "--by", "workflow"), "Orders", USAGE),
    (("usage",), "2 calls, 15 tokens, 0.0000012 US dollars, and 1 calls of unknown cost", USAGE),
    (("node-types", "list"), "Sets values.", {"items": [NODE_TYPE]}),
    (("node-types", "show", "data.set"), "Sets one", NODE_TYPE),
]


@pytest.mark.parametrize(("arguments", "shown", "document_shown"), COMMANDS, ids=lambda value: str(value)[:40])
def test_a_command_shows_people_a_text_and_programs_one_document(
    api, document, rayloom, arguments, shown, document_shown
):
    arguments = [document if argument == "FILE" else argument for argument in arguments]

    code, out, _ = rayloom(*arguments)
    assert code == 0
    assert shown in out

    code, out, err = rayloom(*arguments, "--json")
    assert code == 0
    assert json.loads(out) == document_shown
    assert err == ""


def asked(api, method):
    return [
        (path.removeprefix(f"{BASE}/"), query, body) for found, path, query, _, body in api.asked if found == method
    ]


def test_filters_and_limits_reach_the_api(api, rayloom):
    api.answer("GET", f"{BASE}/workflows", 200, {"items": [WORKFLOW] * 200, "next_cursor": "c"})

    code, out, _ = rayloom(
        "workflows", "list", "--tag", "a", "--tag", "b", "--search", "x y", "--limit", "250", "--json"
    )

    assert code == 0
    assert len(json.loads(out)["items"]) == 400
    first, second = (query for _, query, _ in asked(api, "GET"))
    assert first == "tag=a&tag=b&q=x+y&sort=created_at&limit=200"
    assert {"cursor=c", "limit=50", "tag=a", "tag=b"} <= set(second.split("&"))


def test_the_days_and_the_workflow_of_usage_reach_the_api(api, rayloom):
    rayloom("usage", "--from", "2026-11-01", "--to", "2026-11-30", "--by", "node", "--workflow", ID)
    rayloom("usage")

    first, second = (query for _, query, _ in asked(api, "GET"))
    assert first == f"from=2026-11-01&to=2026-11-30&by=node&workflow_id={ID}"
    assert second == "by=day"


def test_several_files_are_one_import(api, document, rayloom, tmp_path):
    (tmp_path / "two.json").write_text('[{"name": "x"}, {"name": "y"}]')

    assert rayloom("workflows", "import", document, str(tmp_path / "two.json"))[0] == 0

    (call,) = asked(api, "POST")
    assert [entry["name"] for entry in json.loads(call[2])] == ["w", "x", "y"]


def test_an_import_that_is_refused_shows_every_finding(api, document, rayloom):
    finding = {
        "severity": "error",
        "code": "invalid_node_type",
        "node_id": "a",
        "field": "type",
        "message": "no such type",
    }
    problem = {
        "code": "import_invalid",
        "detail": "nothing was imported",
        "workflows": [{"index": 1, "findings": [finding]}],
    }
    api.answer("POST", f"{BASE}/workflows/import", 422, problem)

    code, _, err = rayloom("workflows", "import", document)

    assert code == 2
    assert "workflow 1:" in err
    assert "error invalid_node_type at a.type: no such type" in err


def test_an_export_goes_to_a_file_and_says_what_is_missing(api, rayloom, tmp_path):
    code, out, err = rayloom("workflows", "export", ID, "-o", str(tmp_path / "out.json"))

    assert (code, out) == (0, "")
    assert json.loads((tmp_path / "out.json").read_text()) == EXPORT
    assert "nodes.s.config.password" in err
    code, _, err = rayloom("workflows", "export", ID, "-o", str(tmp_path / "no" / "out.json"))
    assert (code, "cannot be written" in err) == (2, True)


def test_a_document_is_checked_without_an_instance(home, document, rayloom, tmp_path):
    code, out, _ = rayloom("workflows", "validate", document)
    assert (code, out.strip()) == (0, "valid")

    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"definition": {"name": "w", "nodes": [{"id": "a", "type": "no.such"}]}}')
    code, out, _ = rayloom("workflows", "validate", str(wrong))
    assert code == 1
    assert "error invalid_node_type at a.type" in out
    for text, said in (("[1]", "malformed_document"), ('{"name": 1}', "malformed_document")):
        wrong.write_text(text)
        code, out, _ = rayloom("workflows", "validate", str(wrong), "--json")
        assert (code, json.loads(out)["findings"][0]["code"]) == (1, said)


def test_deleting_by_filter_goes_on_while_there_are_more(api, rayloom):
    more = {"deleted": 5000, "not_deleted": [], "more": True}
    api.answer("POST", f"{BASE}/executions/bulk-delete", 200, more, (200, DELETED))

    code, out, _ = rayloom("executions", "delete", "--before", "2026-01-01T00:00:00Z", "--status", "failed", "--yes")

    assert (code, out.strip()) == (0, "5001 deleted")
    body = json.loads(asked(api, "POST")[0][2])
    assert body == {"filter": {"before": "2026-01-01T00:00:00Z", "status": ["failed"]}}


def test_what_is_left_undeleted_is_named_and_fails(api, rayloom):
    left = {"deleted": 0, "not_deleted": [{"id": ID, "reason": "not_terminal"}], "more": False}
    api.answer("POST", f"{BASE}/executions/bulk-delete", 200, left)

    code, out, _ = rayloom("executions", "delete", ID, "-y")

    assert code == 1
    assert "(not_terminal)" in out


def test_an_execution_that_failed_ends_its_watch_with_1(api, rayloom):
    api.answer("GET", f"{BASE}/executions/{ID}", 200, {**EXECUTION, "status": "failed"})

    assert rayloom("executions", "watch", ID)[0] == 1
    assert rayloom("executions", "retry", ID, "--watch")[0] == 1
    assert rayloom("executions", "retry", ID)[0] == 0
    assert rayloom("executions", "replay", ID, "--watch", "--json")[0] == 1


def test_what_a_replay_is_to_change_reaches_the_api(api, rayloom, tmp_path):
    (tmp_path / "input.json").write_text('[{"n": 1}]')
    rayloom("executions", "replay", ID, "--from", "s", "--version", "2", "--input", "null")
    rayloom("executions", "replay", ID, "--input", f"@{tmp_path / 'input.json'}")
    rayloom("executions", "retry", ID)

    assert [json.loads(body) for _, _, body in asked(api, "POST")] == [
        {"from_node": "s", "version": 2, "input": None},
        {"input": [{"n": 1}]},
        {},
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("workflows", "show", "x"), 2, "Invalid value for"),
        (("workflows", "show", ID.replace("1", "2")), 2, "nothing at"),
        (("workflows", "import", "/nowhere.json"), 2, "/nowhere.json cannot be read"),
        (("workflows", "restore", ID, "0"), 2, "Invalid value for"),
        (("executions", "watch", ID.replace("1", "2")), 2, "nothing at"),
        (("executions", "replay", ID, "--input", "{"), 2, "--input is not JSON"),
        (("executions", "replay", ID, "--version", "0"), 2, "Invalid value for"),
        (("executions", "retry", ID.replace("1", "2")), 2, "nothing at"),
        (("executions", "logs", ID, "--node", "z"), 2, "nothing of a node 'z'"),
        (("executions", "delete"), 2, "name executions, or give --before"),
        (("executions", "delete", ID, "--before", "x", "--yes"), 2, "name executions, or give --before"),
        (("executions", "delete", ID, "--json"), 2, "add --yes"),
        (("node-types", "show", "no.such/type"), 2, "nothing at"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(api, rayloom, arguments, code, said):
    found, _, err = rayloom(*arguments)

    assert found == code
    assert said in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("arguments", [("workflows", "list"), ("executions", "stats"), ("node-types", "list")])
def test_before_up_a_command_says_what_to_do(home, rayloom, arguments):
    code, _, err = rayloom(*arguments)

    assert code == 1
    assert "rayloom up" in err


def test_completion_and_exit_codes_are_documented(home, rayloom):
    _, out, _ = rayloom("--help")

    assert "--install-completion" in out
    assert "Exit codes: 0 done" in " ".join(out.split())
