"""What people are shown of an output: a report as text, everything else as JSON."""

import io

from rich.console import Console

from cluster.showing import show_execution
from cluster.tables import models_asked_view


def shown(output: object, *nodes: dict[str, object], status: str = "completed") -> str:
    console = Console(file=io.StringIO(), width=120)
    show_execution(console, {"id": "e", "status": status, "output": output}, nodes)
    return console.file.getvalue()


def node(name: str, **fields: object) -> dict[str, object]:
    return {
        "node_id": name,
        "node_name": name,
        "node_type": "data.set",
        "run_index": 0,
        "status": "completed",
        "attempt": 1,
        "duration_ms": 1.0,
        "output": {"main": [{"json": {}}]},
        "error": None,
        "placement": "actor",
        "pid": 7,
        **fields,
    }


def row(text: str, name: str) -> list[str]:
    """Return the cells of a node's row."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_report_is_printed_as_it_was_written():
    assert "first line\n  second line\n" in shown({"report": "first line\n  second line"})


def test_everything_else_is_json():
    assert '"report": "one line"' in shown({"report": "one line"})
    assert '"a\\nb"' in shown({"one": "a\nb", "two": 2})
    assert '"n": 1' in shown([{"n": 1}])


def test_a_report_is_printed_and_what_stands_beside_it_is_named():
    text = shown({"report": "first\nsecond", "html": "<p>first</p>"})
    assert "first\nsecond\n" in text
    assert "beside the report: html" in text
    assert "<p>" not in text


def test_a_wide_report_keeps_its_lines():
    assert "x" * 300 + "\nsecond" in shown({"report": "x" * 300 + "\nsecond"})


def test_the_rounds_of_a_loop_are_one_row():
    text = shown({}, *(node("work", run_index=each) for each in range(20)), node("end"))
    assert row(text, "work") == ["work", "data.set", "completed", "20", "20", "20.0", "actor"]
    assert row(text, "end") == ["end", "data.set", "completed", "1", "1", "1.0", "actor"]


def test_rounds_that_ended_differently_are_counted():
    broken = node("work", run_index=1, status="failed", error={"message": "no"}, output=None, placement="", pid=None)
    text = shown({}, node("work"), broken, node("work", run_index=2))
    assert row(text, "work")[2] == "2 completed, 1 failed (handled)"


def test_a_failure_that_was_handled_is_told_from_one_that_was_not():
    broken = node("work", status="failed", error={"message": "it broke"}, output=None)
    assert row(shown({}, broken), "work")[2] == "failed (handled)"
    assert row(shown(None, broken, status="failed"), "work")[2] == "failed"
    assert "it broke" in shown({}, broken)


def test_items_that_failed_by_themselves_are_counted():
    some = node("ask", output={"main": [{"json": {}}] * 3, "error": [{"json": {}}] * 2})
    assert row(shown({}, some), "ask")[2:4] == ["completed, 2 of 5 items failed", "5"]


def test_attempts_are_shown_where_one_was_not_enough():
    assert "attempts" not in shown({}, node("one"))
    text = shown({}, node("one"), node("two", attempt=3))
    assert row(text, "two")[3] == "3"


def test_tasks_are_named_with_their_process():
    text = shown({}, node("one", placement="task", pid=41), node("two", placement="task", pid=42))
    assert row(text, "one")[-1] == "task 41"
    assert "2 Ray tasks in 2 processes" in text


def test_a_message_that_goes_on_and_on_is_cut():
    text = shown({}, node("one", status="failed", error={"message": "long " * 200}))
    assert "…" in text
    assert len(text.splitlines()) < 20


def test_what_models_were_asked_is_a_line_for_each_node_and_model():
    embed = {
        "node_id": "embed",
        "model": "minilm",
        "device": "cpu",
        "gpu_ids": ["0"],
        "batch_sizes": [64, 12],
        "prompt_tokens": 100,
        "completion_tokens": 0,
        "duration_ms": 1.4,
    }
    ask = {**embed, "node_id": "ask", "model": "smol", "gpu_ids": [], "batch_sizes": [7], "completion_tokens": 5}
    total = {"calls": 3, "total_tokens": 305, "cost_usd": "0", "costs_unknown": 0}
    console = Console(file=io.StringIO(), width=80)

    console.print(models_asked_view([embed, ask, embed], total))

    lines = [" ".join(line.replace("│", " ").split()) for line in console.file.getvalue().splitlines()]
    assert "embed minilm cpu gpu 0 4 x 12-64 200 3" in lines
    assert "ask smol cpu 7 100 + 5 1" in lines
