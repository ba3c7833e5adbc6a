import json
import os
import secrets
import sys

import pytest

from cluster import cli
from cluster.home import open_home, write_json
from cluster.processes import created_s
from cluster.record import KeeperPhase, KeeperRecord, PartRecord, read_record, write_record

from .fake_api import running_api, sse

EXECUTIONS = "/api/v1/workspaces/w/executions"
NODE = {
    "node_id": "n1",
    "node_name": "Set values",
    "node_type": "action.set",
    "status": "completed",
    "attempt": 1,
    "duration_ms": 0.5,
    "error": None,
}


def execution(status="completed", **fields):
    return {
        "id": "e1",
        "status": status,
        "output": {"answer": 42},
        "error": None,
        "timings": {"duration_ms": 12.5},
        **fields,
    }


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("RAYLOOM_", "RAY_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAYLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    return open_home(tmp_path / "home", secrets.token_hex)


@pytest.fixture
def api(home):
    with running_api() as running:
        write_json(home.admin_file, {"base_url": running.base_url, "workspace_id": "w", "api_key": "key"})
        running.answer("GET", f"{EXECUTIONS}/e1/nodes", 200, {"items": [NODE], "next_cursor": None})
        yield running


@pytest.fixture
def workflow(tmp_path):
    file = tmp_path / "workflow.json"
    file.write_text('{"name": "w", "nodes": [], "connections": []}')
    return str(file)


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


def test_run_shows_nodes_and_output(api, workflow, rayloom):
    api.answer("POST", EXECUTIONS, 200, execution())
    code, out, _ = rayloom("run", workflow, "--input", '{"x": 1}')
    assert code == 0
    assert "Set values" in out
    assert "completed in 12.5 ms" in out
    assert '"answer": 42' in out
    assert json.loads(api.asked[0][4])["input"] == {"x": 1}


def test_run_json_is_one_document(api, workflow, rayloom, tmp_path):
    (tmp_path / "input.json").write_text("[1, 2]")
    api.answer("POST", EXECUTIONS, 200, execution())
    code, out, _ = rayloom("run", workflow, "--json", "--input", f"@{tmp_path / 'input.json'}")
    assert code == 0
    assert json.loads(out) == {"execution": execution(), "nodes": [NODE]}
    assert json.loads(api.asked[0][4])["input"] == [1, 2]


@pytest.mark.parametrize("flags", [(), ("--watch",)])
def test_run_follows_an_execution_that_takes_longer(api, workflow, rayloom, flags):
    api.answer("POST", EXECUTIONS, 202, execution("running", output=None))
    stream = sse((1, "node.started", {"node_id": "n1"}), (2, "execution.completed", {}))
    api.answer("GET", f"{EXECUTIONS}/e1/events", 200, stream)
    api.answer("GET", f"{EXECUTIONS}/e1", 200, execution())
    code, out, _ = rayloom("run", workflow, *flags)
    assert code == 0
    assert "completed" in out


def test_run_of_a_failing_workflow(api, workflow, rayloom):
    error = {"code": "node_failed", "message": "no such host", "node_id": "n1"}
    api.answer("POST", EXECUTIONS, 200, execution("failed", error=error, output=None))
    code, out, _ = rayloom("run", workflow)
    assert code == 1
    assert "node_failed: no such host (node n1)" in out


def test_run_shows_every_finding(api, workflow, rayloom):
    finding = {"severity": "error", "code": "unknown_type", "node_id": "n1", "field": "type", "message": "no such type"}
    problem = {"code": "invalid_definition", "detail": "the definition is not valid", "findings": [finding]}
    api.answer("POST", EXECUTIONS, 422, problem)
    code, _, err = rayloom("run", workflow)
    assert code == 2
    assert "error unknown_type at n1.type: no such type" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "/nowhere.json"), "/nowhere.json cannot be read"),
        (("run", "WORKFLOW", "--input", "{"), "--input is not JSON"),
        (("run", "WORKFLOW", "--input", "@/nowhere.json"), "/nowhere.json cannot be read"),
    ],
)
def test_bad_input_has_its_own_exit_code(home, workflow, rayloom, arguments, said):
    code, _, err = rayloom(*[workflow if argument == "WORKFLOW" else argument for argument in arguments])
    assert code == 2
    assert said in err


def test_a_definition_must_be_an_object(home, tmp_path, rayloom):
    (tmp_path / "list.json").write_text("[]")
    code, _, err = rayloom("run", str(tmp_path / "list.json"))
    assert code == 2
    assert "holds no JSON object" in err


def test_run_before_up(home, workflow, rayloom):
    code, _, err = rayloom("run", workflow)
    assert code == 1
    assert "rayloom up" in err


def test_a_bad_setting_is_one_sentence(home, rayloom, monkeypatch):
    monkeypatch.setenv("RAYLOOM_POOL__SIZ", "1")
    code, _, err = rayloom("status")
    assert code == 2
    assert "pool.siz: there is no such setting" in err


def test_an_open_home_is_one_sentence(home, rayloom):
    home.root.chmod(0o755)
    code, _, err = rayloom("doctor")
    assert code == 1
    assert "chmod 700" in err


def running_record(**fields):
    part = PartRecord(name="ray", phase="ready", pid=1, restarts=2, reason="", seconds={"ray": 5.5})
    me = os.getpid()
    return KeeperRecord(pid=me, created_s=created_s(me), phase=KeeperPhase.READY, parts=(part,), **fields)


def test_a_record_reads_back(home):
    record = running_record(base_url="http://x", sessions=(4, 5), ports={"gcs": 1})
    write_record(home, record)
    assert read_record(home) == record


def test_status_of_nothing(home, rayloom):
    code, out, _ = rayloom("status")
    assert code == 1
    assert "rayloom up" in out
    code, out, _ = rayloom("status", "--json")
    assert json.loads(out)["up"] is False


def test_status_of_a_running_instance(api, home, rayloom):
    api.answer("GET", "/health/ready", 200, {"pool": {"size": 2}})
    write_record(home, running_record(base_url=api.base_url))
    with home.keeping():
        code, out, _ = rayloom("status")
        assert code == 0
        assert "ready" in out
        assert "5.5 s" in out
        code, out, _ = rayloom("status", "--json")
    document = json.loads(out)
    assert document["ready"] is True
    assert document["health"]["pool"] == {"size": 2}
    assert document["keeper"]["parts"][0]["restarts"] == 2


def test_up_again_says_so(api, home, rayloom):
    write_record(home, running_record(base_url=api.base_url))
    with home.keeping():
        code, out, _ = rayloom("up")
    assert code == 0
    assert "Rayloom is ready already" in out
    assert "rayloom down" in out
    assert "key" not in [word.strip('"') for word in out.split()]


def test_down_of_nothing_is_fine(home, rayloom):
    code, out, _ = rayloom("down")
    assert code == 0
    assert "was not up" in out


def test_doctor_finds_a_taken_port(api, home, rayloom, monkeypatch):
    monkeypatch.setenv("RAYLOOM_SERVE__PORT", api.base_url.rpartition(":")[2])
    code, out, _ = rayloom("doctor")
    assert code == 1
    assert "RAYLOOM_SERVE__PORT" in out
