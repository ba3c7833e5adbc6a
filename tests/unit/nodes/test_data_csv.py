import base64
import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_csv import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.spec import Config


async def rows(run_node, text, **options):
    outputs = await run_node(NODE_TYPE, {"operation": "parse", **options}, [{"data": text}])
    return [item["json"] for item in outputs["main"]]


READ = [
    ("a,b\n1,2\n", {}, [{"a": "1", "b": "2"}]),
    ("\ufeffa,b\r\n1,2", {}, [{"a": "1", "b": "2"}]),
    ("a\tb\n'1\t2'\t3", {"delimiter": "\t", "quote": "'"}, [{"a": "1\t2", "b": "3"}]),
    ('a\n"x\n""y"""\n', {}, [{"a": 'x\n"y"'}]),
    ('a\n"x\n', {"quote": ""}, [{"a": '"x'}]),
    ("1,2\n3,4", {"header": False}, [{"column_1": "1", "column_2": "2"}, {"column_1": "3", "column_2": "4"}]),
    ("1,2", {"header": False, "columns": ["x", "y"]}, [{"x": "1", "y": "2"}]),
    ("a,b\n1,2", {"columns": ["x", "y"]}, [{"x": "1", "y": "2"}]),
    ("a,a,,a\n1,2,3,4", {}, [{"a": "1", "a_2": "2", "column_3": "3", "a_3": "4"}]),
    ("junk\njunk,\na\n\n1\n\n2\n3", {"skip_lines": 2, "limit": 2}, [{"a": "1"}, {"a": "2"}]),
    ("a\n\n1", {"skip_empty": False, "ragged": "pad"}, [{"a": None}, {"a": "1"}]),
    ("a,b\n1\n1,2,3", {"ragged": "pad"}, [{"a": "1", "b": None}, {"a": "1", "b": "2", "column_3": "3"}]),
    ("a,b\n1\n1,2\n1,2,3", {"ragged": "skip"}, [{"a": "1", "b": "2"}]),
    ("a\n1", {"types": {"a": "number"}}, [{"a": 1}]),
    ("a,b\n,x", {"types": {"a": "date"}}, [{"a": None, "b": "x"}]),
    ("", {}, []),
    ("a,b\n", {}, []),
]


@pytest.mark.parametrize(("text", "options", "expected"), READ)
async def test_reads(run_node, text, options, expected):
    assert await rows(run_node, text, **options) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1.50", -1.5),
        ("1e3", 1000.0),
        ("0", 0),
        ("0.5", 0.5),
        ("-0", 0),
        ("true", True),
        ("false", False),
        ("", None),
    ]
    # as people write ids, phone numbers, versions: not numbers
    + [
        (text, text)
        for text in (
            "007",
            "+431",
            "1234567890123456",
            "1.",
            ".5",
            "1_0",
            "0x1",
            "NaN",
            "True",
            " 1",
            "\u0661",
            "1e999",
            "--1",
        )
    ],
)
async def test_guesses_only_what_is_clear(run_node, text, value):
    [row] = await rows(run_node, f"a,b\n{text},x", values="auto")
    assert row["a"] == value
    assert type(row["a"]) is type(value)


TABLES = st.lists(st.lists(st.text("ab,;\"' \n\r=é", max_size=5), min_size=2, max_size=2), max_size=6)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=TABLES, delimiter=st.sampled_from(",;\t"), line_end=st.sampled_from(["\n", "\r\n"]))
async def test_there_and_back_and_the_standard_library_reads_it(run_node, table, delimiter, line_end):
    items = [{"x": x, "y": y} for x, y in table] or [{"x": "", "y": ""}]
    written = await run_node(NODE_TYPE, {"operation": "write", "delimiter": delimiter, "line_end": line_end}, items)
    text = written["main"][0]["json"]["data"]
    assert list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:] == [
        list(each.values()) for each in items
    ]
    assert await rows(run_node, text, delimiter=delimiter, skip_empty=False) == items


async def test_writes_values_of_all_types_and_all_columns(run_node):
    items = [{"a": 1, "b": None}, {"c": [1], "a": True}, {"b": {"x": 1.5}}]
    outputs = await run_node(NODE_TYPE, {"operation": "write", "into": "out.csv"}, items)
    text = 'a,b,c\n1,,\ntrue,,[1]\n,"{""x"":1.5}",\n'
    assert outputs == {"main": [{"json": {"out": {"csv": text}}, "paired_item": [0, 1, 2]}]}


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
async def test_formulas(run_node, cell):
    config = {"operation": "write", "header": False, "escape_formulas": True}
    [item] = (await run_node(NODE_TYPE, config, [{"a": cell, "b": -1}]))["main"]
    assert next(csv.reader(io.StringIO(item["json"]["data"], newline=""))) == ["'" + cell, "-1"]


async def test_without_quotes_only_what_needs_none_is_written(run_node):
    config = {"operation": "write", "quote": "", "header": False}
    [item] = (await run_node(NODE_TYPE, config, [{"a": 'x"y'}]))["main"]
    assert item["json"]["data"] == 'x"y\n'
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, [{"a": "x,y"}])
    assert caught.value.code == "csv_invalid"


async def test_files(run_node, context):
    config = {"operation": "write", "file": "table", "file_name": "t.csv", "byte_order_mark": True}
    [item] = (await run_node(NODE_TYPE, config, [{"ä": "€"}]))["main"]
    file = item["binary"]["table"]
    data = base64.b64decode(file["data"])
    assert data == b"\xef\xbb\xbf" + "ä\n€\n".encode()
    assert (file["mime_type"], file["size_bytes"], file["file_name"]) == ("text/csv", len(data), "t.csv")
    outputs = await NODE_TYPE.run(context, Config({"operation": "parse", "binary": "table"}), [item])
    assert outputs["main"] == [{"json": {"ä": "€"}, "paired_item": 0}]


@pytest.mark.parametrize(
    ("encoding", "data"), [("windows-1252", b"\x80"), ("utf-16", "€".encode("utf-16")), ("iso-8859-15", b"\xa4")]
)
async def test_encodings(run_node, context, encoding, data):
    file = {"data": base64.b64encode(data).decode(), "mime_type": "text/csv", "size_bytes": len(data)}
    config = Config({"operation": "parse", "binary": "f", "encoding": encoding, "header": False})
    outputs = await NODE_TYPE.run(context, config, [{"json": {}, "binary": {"f": file}}])
    assert outputs["main"][0]["json"] == {"column_1": "€"}


@pytest.mark.parametrize(
    ("text", "options", "code", "line"),
    [
        ("a,b\n1\n", {}, "csv_invalid", 2),
        ('a\n"x', {}, "csv_invalid", 2),
        ('a\n"x"y\n', {}, "csv_invalid", 2),
        ("a\n" + "x" * 200_000, {}, "csv_invalid", 2),
        ("a\n1\nx", {"types": {"a": "number"}}, "cannot_convert", 3),
    ],
)
async def test_errors_name_the_line(run_node, text, options, code, line):
    with pytest.raises(NodeError) as caught:
        await rows(run_node, text, **options)
    assert (caught.value.code, caught.value.fields["line"], caught.value.fields["item_index"]) == (code, line, 0)


async def test_what_an_encoding_cannot_write(run_node):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"operation": "write", "file": "f", "encoding": "iso-8859-1"}, [{"a": "€"}])
    assert caught.value.code == "encoding_invalid"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"operation": "parse", "delimiter": ";;"},
        {"operation": "parse", "delimiter": '"'},
        {"operation": "parse", "delimiter": "\n"},
        {"operation": "parse", "encoding": "rot13"},
        {"operation": "write", "columns": ["a..b"]},
        {"operation": "parse", "types": {"a": "money"}},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
