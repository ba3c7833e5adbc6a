"""`rayloom run --local`: the engine in the process of the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import psutil
import pytest

from cluster import cli


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    for name in list(os.environ):
        if name.startswith(("RAYLOOM_", "RAY_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAYLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")

    def call(document, *arguments):
        file = tmp_path / "workflow.json"
        file.write_text(json.dumps(document))
        monkeypatch.setattr(sys, "argv", ["rayloom", "run", str(file), "--local", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def workflow(*nodes, settings=None):
    links = [{"source": a["id"], "target": b["id"]} for a, b in pairwise(nodes)]
    return {"name": "w", "nodes": list(nodes), "connections": links, "settings": settings or {}}


SET = {"id": "a", "type": "data.set", "config": {"values": {"x": "{{ $json.n }}"}}}
CODE = {
    "id": "c",
    "type": "action.code",
    "config": {"language": "python", "code": "print('hello')\nreturn [{'y': items[0]['x'] + 1}]"},
}
ENDLESS = {"id": "e", "type": "action.code", "config": {"language": "python", "code": "while True: pass"}}


def test_a_document_is_executed_here_and_shown(run, tmp_path):
    code, out, err = run(workflow(SET, CODE), "--input", '{"n": 41}')

    assert (code, err) == (0, "")
    assert "completed in" in out
    assert '"y": 42' in out
    assert not (tmp_path / "home").exists(), "nothing is made that only an instance needs"


def test_json_is_one_document_as_of_a_real_execution(run, tmp_path):
    (tmp_path / "given.json").write_text('{"n": 1}')
    task = {**CODE, "resources": {"cpu": 1}}
    code, out, _ = run(workflow(SET, task), "--json", "--input", f"@{tmp_path / 'given.json'}")
    shown = json.loads(out)

    assert code == 0
    assert shown["execution"]["status"] == "completed"
    assert shown["execution"]["output"] == {"c": [{"y": 2}]}
    assert shown["execution"]["nodes_completed"] == 2
    assert [(node["node_id"], node["placement"]) for node in shown["nodes"]] == [("a", "actor"), ("c", "task")]
    assert shown["nodes"][1]["logs"] == "hello"
    assert shown["nodes"][1]["output"] == {"main": [{"json": {"y": 2}}]}


def test_what_fails_is_exit_code_1_with_the_error(run):
    code, out, _ = run(workflow(SET, {**CODE, "config": {**CODE["config"], "code": "raise ValueError('no')"}}))

    assert code == 1
    assert "failed" in out
    assert "node c" in out


def test_a_time_limit_holds_here_too(run):
    code, out, _ = run(workflow(SET, ENDLESS, settings={"timeout_ms": 300}), "--json")

    assert code == 1
    assert json.loads(out)["execution"]["status"] == "timeout"


def test_what_is_not_valid_is_exit_code_2_before_anything_runs(run):
    unknown = run(workflow({"id": "a", "type": "no.such"}))
    bad_input = run(workflow(SET), "--input", "[1]")
    document = {**workflow(SET), "input_schema": {"required": ["n"]}}
    unfit = run(document, "--input", "{}")

    assert [code for code, _, _ in (unknown, bad_input, unfit)] == [2, 2, 2]
    assert "no.such" in unknown[2]
    assert "input_invalid" in bad_input[2]
    assert "input_schema_violated" in unfit[2]


def busiest_child_s(pid):
    """Return the most CPU seconds that a process below this one has used."""
    found = [0.0]
    for child in psutil.Process(pid).children(recursive=True):
        try:
            found.append(child.cpu_times().user)
        except psutil.NoSuchProcess:
            continue
    return max(found)


def test_ctrl_c_cancels_and_shows_what_was_done(tmp_path):
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(workflow(SET, ENDLESS)))
    environment = {**os.environ, "RAYLOOM_HOME": str(tmp_path / "home"), "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "cluster.cli", "run", str(file), "--local", "--json", "--input", '{"n": 1}']
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 30
        while busiest_child_s(process.pid) < 1.0:  # the endless loop is under way
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    shown = json.loads(out)

    assert process.returncode == 130, err
    assert shown["execution"]["status"] == "cancelled"
    assert {node["node_id"]: node["status"] for node in shown["nodes"]} == {"a": "completed", "e": "cancelled"}
