"""What people are shown of an output: a report as text, everything else as JSON."""

import io

from rich.console import Console

from cluster.showing import show_execution


def shown(output: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    show_execution(console, {"id": "e", "status": "completed", "output": output}, [])
    return console.file.getvalue()


def test_a_report_is_printed_as_it_was_written():
    assert "first line\n  second line\n" in shown({"report": "first line\n  second line"})


def test_everything_else_is_json():
    assert '"report": "one line"' in shown({"report": "one line"})
    assert '"a\\nb"' in shown({"one": "a\nb", "two": 2})
    assert '"n": 1' in shown([{"n": 1}])
