"""`action.http` against a real server: bodies, answers, errors, pages, several requests at once."""

import base64
import email.utils
import json
import time

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from nodes.action_http import NODE_TYPE
from nodes.outbound import GuardedClient, OutboundPolicy
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.spec import Effect


@pytest.fixture
async def context(context, httpserver: HTTPServer):
    client = GuardedClient(OutboundPolicy(allow=(f"127.0.0.1:{httpserver.port}",)))
    context.http = client
    yield context
    await client.close()


def tell(request: Request) -> Response:
    told = {
        "method": request.method,
        "query": request.args.to_dict(flat=False),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "text": request.get_data(as_text=True),
    }
    return Response(json.dumps(told), content_type="application/json")


async def one(run_node, config: dict, item: dict | None = None) -> dict:
    outputs = await run_node(NODE_TYPE, config, [item or {}])
    (given,) = outputs["main"]
    assert given["paired_item"] == 0
    return given["json"]


def test_it_is_visible_outside():
    assert NODE_TYPE.spec.effect is Effect.EFFECT


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_methods_queries_headers(run_node, httpserver: HTTPServer, method: str):
    httpserver.expect_request("/tell").respond_with_handler(tell)
    config = {
        "method": method,
        "url": httpserver.url_for("/tell?a=1"),
        "query": {"b": [1, "x"], "c": True, "d": None, "e": "{{ $json.e }}"},
        "headers": {"X-Number": 5, "X-Text": "{{ $json.t }}"},
    }
    told = await one(run_node, config, {"e": "é =", "t": "plain"})
    assert told["method"] == method
    assert told["query"] == {"a": ["1"], "b": ["1", "x"], "c": ["true"], "e": ["é ="]}
    assert told["headers"]["x-number"] == "5"


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ({"body_kind": "json", "body": {"n": "{{ $json.n }}"}}, "application/json", '{"n":7}'),
        ({"body_kind": "json", "body": None}, "application/json", "null"),
        (
            {"body_kind": "form", "body": {"a": "x y", "b": [1, 2]}},
            "application/x-www-form-urlencoded",
            "a=x+y&b=1&b=2",
        ),
        ({"body_kind": "raw", "body": "n={{ $json.n }}"}, "text/plain; charset=utf-8", "n=7"),
        ({"body_kind": "raw", "body": "<a/>", "content_type": "text/xml"}, "text/xml", "<a/>"),
    ],
)
async def test_bodies(run_node, httpserver: HTTPServer, body: dict, content_type: str, text: str):
    httpserver.expect_request("/tell").respond_with_handler(tell)
    told = await one(run_node, {"method": "POST", "url": httpserver.url_for("/tell"), **body}, {"n": 7})
    assert told["headers"]["content-type"] == content_type
    assert told["text"] == text


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (
            {"kind": "basic", "user": "ü", "password": "p:w"},
            "authorization",
            "Basic " + base64.b64encode("ü:p:w".encode()).decode(),
        ),
        ({"kind": "bearer", "token": "t"}, "authorization", "Bearer t"),
        ({"kind": "header", "name": "X-Key", "value": "v"}, "x-key", "v"),
    ],
)
async def test_authentication(run_node, httpserver: HTTPServer, auth: dict, header: str, value: str):
    httpserver.expect_request("/tell").respond_with_handler(tell)
    told = await one(run_node, {"url": httpserver.url_for("/tell"), "auth": auth})
    assert told["headers"][header] == value


async def test_digest_authentication(run_node, httpserver: HTTPServer):
    def guard(request: Request) -> Response:
        given = request.headers.get("Authorization", "")
        if given.startswith('Digest username="u", realm="r"'):
            return Response('{"ok": true}', content_type="application/json")
        return Response(
            status=401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
        )

    httpserver.expect_request("/").respond_with_handler(guard)
    config = {"url": httpserver.url_for("/"), "auth": {"kind": "digest", "user": "u", "password": "p"}}
    assert await one(run_node, config) == {"ok": True}


async def test_the_idempotency_key_is_the_same_for_every_attempt_and_differs_by_item(
    run_node, context, httpserver: HTTPServer
):
    httpserver.expect_request("/tell").respond_with_handler(tell)
    config = {"method": "POST", "url": httpserver.url_for("/tell")}
    keys = []
    for attempt in (1, 2):
        context.attempt = attempt
        outputs = await run_node(NODE_TYPE, config, [{}, {}])
        keys.append([item["json"]["headers"]["idempotency-key"] for item in outputs["main"]])
    assert keys[0] == keys[1] == [f"{context.effect_key}:0", f"{context.effect_key}:1"]
    told = await one(run_node, {**config, "idempotency_header": ""})
    assert "idempotency-key" not in told["headers"]
    told = await one(run_node, {"url": httpserver.url_for("/tell")})
    assert "idempotency-key" not in told["headers"], "a GET changes nothing"


@pytest.mark.parametrize(
    ("answer", "content_type", "options", "expected"),
    [
        ('{"a": 1}', "application/json", {}, [{"a": 1}]),
        ('[{"a": 1}, 2]', "application/vnd.x+json; charset=utf-8", {}, [{"a": 1}, {"body": 2}]),
        ("[]", "application/json", {}, []),
        ("", "application/json", {}, []),
        ("hällo".encode("latin-1"), "text/plain; charset=latin-1", {}, [{"body": "hällo"}]),
        ('{"a": 1}', "text/plain", {"response": "json"}, [{"a": 1}]),
        ('{"a": 1}', "application/json", {"response": "text"}, [{"body": '{"a": 1}'}]),
        ("anything", "text/plain", {"response": "none"}, []),
    ],
)
async def test_answers(run_node, httpserver: HTTPServer, answer, content_type: str, options: dict, expected: list):
    httpserver.expect_request("/").respond_with_data(answer, content_type=content_type)
    outputs = await run_node(NODE_TYPE, {"url": httpserver.url_for("/"), **options}, [{}])
    assert [item["json"] for item in outputs["main"]] == expected


async def test_a_whole_answer_and_a_file(run_node, httpserver: HTTPServer):
    httpserver.expect_request("/a.png").respond_with_data(b"\x89PNG", content_type="image/png", headers={"X-A": "1"})
    url = httpserver.url_for("/a.png")
    (whole,) = (await run_node(NODE_TYPE, {"url": url, "output": "response"}, [{}]))["main"]
    assert (whole["json"]["status_code"], whole["json"]["headers"]["x-a"], whole["json"]["body"]) == (200, "1", None)
    file = {
        "data": base64.b64encode(b"\x89PNG").decode(),
        "mime_type": "image/png",
        "size_bytes": 4,
        "file_name": "a.png",
    }
    assert whole["binary"] == {"data": file}
    (alone,) = (await run_node(NODE_TYPE, {"url": url}, [{}]))["main"]
    assert alone["binary"] == {"data": file}


async def test_files_of_an_item_are_sent(run_node, context, httpserver: HTTPServer):
    def tell_file(request: Request) -> Response:
        files = {name: [f.filename, f.mimetype, f.read().decode()] for name, f in request.files.items()}
        told = {"files": files, "form": request.form.to_dict(), "data": request.get_data(as_text=True)}
        return Response(
            json.dumps({**told, "type": request.content_type.split(";")[0]}), content_type="application/json"
        )

    httpserver.expect_request("/").respond_with_handler(tell_file)
    from workflow.config import ConfigTemplate, Frame

    item = {
        "json": {},
        "binary": {"doc": {"data": "YWJj", "mime_type": "text/csv", "size_bytes": 3, "file_name": "a.csv"}},
    }
    base = {"method": "POST", "url": httpserver.url_for("/")}

    async def send(config: dict) -> dict:
        frame = Frame(items=[item], execution_id=context.execution_id, workflow_id=None, workflow_name="w")
        filled = await ConfigTemplate({**base, **config}, NODE_TYPE.spec).resolve(frame, context.sandbox)
        return (await NODE_TYPE.run(context, filled, [item]))["main"][0]["json"]

    sent = await send({"body_kind": "multipart", "body": {"f": {"file": "doc"}, "n": 1}})
    assert (sent["files"], sent["form"]) == ({"f": ["a.csv", "text/csv", "abc"]}, {"n": "1"})
    sent = await send({"body_kind": "binary", "body": "doc"})
    assert (sent["data"], sent["type"]) == ("abc", "text/csv")
    with pytest.raises(NodeError) as caught:
        await send({"body_kind": "binary", "body": "other"})
    assert caught.value.code == "http_body_invalid"


@pytest.mark.parametrize(
    ("status", "headers", "retryable", "after_ms"),
    [
        (404, {}, False, None),
        (503, {"Retry-After": "7"}, True, 7_000),
        (429, {"Retry-After": "soon"}, True, None),
        (500, {}, True, None),
    ],
)
async def test_error_statuses_are_failures(run_node, httpserver: HTTPServer, status, headers, retryable, after_ms):
    httpserver.expect_request("/").respond_with_response(Response("no", status=status, headers=headers))
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"url": httpserver.url_for("/")}, [{}])
    error = caught.value
    assert (error.code, error.retryable) == (f"http_{status}", retryable)
    assert error.fields.get("retry_after_ms") == after_ms
    whole = await one(run_node, {"url": httpserver.url_for("/"), "fail_on_status": False, "output": "response"})
    assert whole["status_code"] == status


async def test_a_retry_after_may_be_a_date(run_node, httpserver: HTTPServer):
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    httpserver.expect_request("/").respond_with_response(Response("no", status=429, headers={"Retry-After": later}))
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"url": httpserver.url_for("/")}, [{}])
    assert 50_000 < caught.value.fields["retry_after_ms"] <= 100_000


@pytest.mark.parametrize("value", ["é", "a\r\nX-Injected: 1", "\x00"])
async def test_headers_cannot_be_broken_out_of(run_node, httpserver: HTTPServer, value: str):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"url": httpserver.url_for("/"), "headers": {"X-A": "{{ $json.v }}"}}, [{"v": value}])
    assert caught.value.code == "http_header_invalid"
    assert not httpserver.log


async def test_items_fail_by_themselves_and_keep_their_order(run_node, context, httpserver: HTTPServer):
    def answer(request: Request) -> Response:
        number = int(request.args["n"])
        return Response(json.dumps({"n": number}), status=500 if number == 2 else 200, content_type="application/json")

    httpserver.expect_request("/").respond_with_handler(answer)
    config = {"url": httpserver.url_for("/"), "query": {"n": "{{ $json.n }}"}, "concurrency": 3}
    outputs = await run_node(NODE_TYPE, config, [{"n": n} for n in range(6)], keep_going=True)
    assert [(item["json"]["n"], item["paired_item"]) for item in outputs["main"]] == [(n, n) for n in (0, 1, 3, 4, 5)]
    assert {index: error.code for index, error in context.failed.items()} == {2: "http_500"}


class Numbers:
    """A resource of seven elements in pages of three, in every manner of paging."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.asked: list[str] = []
        server.expect_request("/numbers").respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        self.asked.append(request.query_string.decode())
        start = int(request.args.get("offset", request.args.get("cursor", (int(request.args.get("page", 1)) - 1) * 3)))
        numbers = [{"n": n} for n in range(start, min(start + 3, 7))]
        more = start + 3 < 7
        body = {
            "list": numbers,
            "meta": {"next": start + 3 if more else None, "url": f"/numbers?cursor={start + 3}" if more else ""},
        }
        link = {"Link": f'</numbers?cursor={start + 3}>; rel="next", </numbers>; rel="first"'} if more else {}
        return Response(json.dumps(body), content_type="application/json", headers=link)


@pytest.mark.parametrize(
    ("pagination", "requests"),
    [
        ({"mode": "page", "parameter": "page"}, 4),
        ({"mode": "page", "parameter": "page", "size": 3, "size_parameter": "size"}, 3),
        ({"mode": "offset", "parameter": "offset"}, 4),
        ({"mode": "cursor", "parameter": "cursor", "path": "meta.next"}, 3),
        ({"mode": "next_url", "path": "meta.url"}, 3),
        ({"mode": "link_header"}, 3),
    ],
)
async def test_pages(run_node, httpserver: HTTPServer, pagination: dict, requests: int):
    numbers = Numbers(httpserver)
    config = {"url": httpserver.url_for("/numbers"), "pagination": {"items_path": "list", **pagination}}
    outputs = await run_node(NODE_TYPE, config, [{}])
    assert [item["json"]["n"] for item in outputs["main"]] == list(range(7))
    assert len(numbers.asked) == requests


async def test_endless_pages_end(run_node, httpserver: HTTPServer):
    httpserver.expect_request("/").respond_with_json({"list": [1], "next": "x"})
    config = {
        "url": httpserver.url_for("/"),
        "pagination": {"mode": "page", "parameter": "p", "items_path": "list", "pages_max": 5},
    }
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, [{}])
    assert caught.value.code == "http_too_many_pages"
    assert len(httpserver.log) == 5


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({}, "missing_config"),
        ({"url": "ftp://x"}, "invalid_url"),
        ({"url": "{{ $json.url }}"}, None),
        ({"url": "http://{{ $json.host }}/"}, None),
        ({"url": "http://x", "method": "BREW"}, "invalid_config"),
        ({"url": "http://x", "body_kind": "json", "body": 1}, "body_not_sent"),
        ({"url": "http://x", "method": "POST", "body_kind": "json"}, "missing_config"),
        ({"url": "http://x", "auth": {"kind": "basic", "user": "u"}}, "missing_config"),
        ({"url": "http://x", "pagination": {"mode": "cursor", "parameter": "c"}}, "missing_config"),
    ],
)
def test_what_compile_says_of_the_config(config: dict, code: str | None):
    assert [found for found, _ in findings(NODE_TYPE, config)] == ([code] if code else [])
