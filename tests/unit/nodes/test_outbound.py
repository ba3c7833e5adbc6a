"""The guard: which addresses may be reached, however they are written, through names, redirects and rebinding."""

import asyncio
import socket

import httpcore2
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from nodes.outbound import GuardedClient, OutboundPolicy
from nodes.outbound.client import GuardedBackend
from workflow.errors import NodeError
from workflow.http import HttpFile, HttpRequest

CLOSED = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "100.64.0.1", "169.254.169.254", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7",
    "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "fc00::1", "fd00::1",
    "fe80::1", "fe80::1%eth0", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1", "::10.0.0.1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "not an address", "",
]  # fmt: skip
OPEN = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"]


@pytest.mark.parametrize("address", CLOSED)
def test_what_is_not_public_is_closed(address: str):
    assert not OutboundPolicy().permits(address, 443)


@pytest.mark.parametrize("address", OPEN)
def test_what_is_public_is_open(address: str):
    assert OutboundPolicy().permits(address, 443)


def test_a_network_opens_everything_in_it_but_our_own_ports_and_a_place_opens_just_itself():
    policy = OutboundPolicy(allow=("127.0.0.0/8", "10.0.0.0/8"), own_ports=((8000, 8000), (10002, 19999)))
    assert policy.permits("127.0.0.1", 9000)
    assert policy.permits("::ffff:127.0.0.1", 9000)
    assert policy.permits("10.1.2.3", 8000), "that is another host's port"
    assert not policy.permits("127.0.0.1", 8000)
    assert not policy.permits("127.0.0.1", 12_345)
    assert not policy.permits("192.168.0.1", 9000)

    place = OutboundPolicy(allow=("127.0.0.1:8000", "[::1]:8000"), own_ports=((8000, 8001),))
    assert place.permits("127.0.0.1", 8000)
    assert place.permits("::1", 8000)
    assert not place.permits("127.0.0.1", 8001)
    assert not place.permits("127.0.0.2", 8000)


def test_our_own_public_address_is_not_public_for_us():
    policy = OutboundPolicy(own_addresses=("93.184.216.34",), own_ports=((8000, 8000),))
    assert not policy.permits("93.184.216.34", 8000)
    assert not policy.permits("93.184.216.34", 443)


@pytest.fixture
async def client(httpserver: HTTPServer):
    made = GuardedClient(OutboundPolicy(allow=(f"127.0.0.1:{httpserver.port}",)))
    yield made
    await made.close()


async def refused(client: GuardedClient, url: str, **options) -> NodeError:
    with pytest.raises(NodeError) as caught:
        await client.send(HttpRequest(method="GET", url=url, **options))
    return caught.value


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "127.0.0.1.",
    ],
)
async def test_every_spelling_of_this_host_is_refused(host: str):
    client = GuardedClient(OutboundPolicy())
    error = await refused(client, f"http://{host}:9/")
    assert error.code in ("http_address_refused", "http_url_invalid", "http_connect_failed")
    if error.code == "http_connect_failed":
        assert "cannot be resolved" in error.message
    assert not error.retryable or error.code == "http_connect_failed"
    await client.close()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://1.1.1.1/",
        "http://",
        "//x",
        "x",
        "http://user:secret@1.1.1.1/",
        "http://[::1",
    ],
)
async def test_what_is_no_plain_http_address_is_refused(client: GuardedClient, url: str):
    error = await refused(client, url)
    assert error.code == "http_url_invalid"
    assert not error.retryable


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_closed_address_is_refused(client: GuardedClient, httpserver: HTTPServer, status: int):
    closed = f"http://127.0.0.2:{httpserver.port}/secret"
    httpserver.expect_request("/go").respond_with_response(Response(status=status, headers={"Location": closed}))
    httpserver.expect_request("/secret").respond_with_data("secret")
    assert (await refused(client, httpserver.url_for("/go"))).code == "http_address_refused"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://x/"])
async def test_a_redirect_to_another_scheme_is_refused(client: GuardedClient, httpserver: HTTPServer, target: str):
    httpserver.expect_request("/go").respond_with_response(Response(status=302, headers={"Location": target}))
    assert (await refused(client, httpserver.url_for("/go"))).code == "http_url_invalid"


async def test_redirects_are_followed_so_far_and_a_loop_ends(client: GuardedClient, httpserver: HTTPServer):
    httpserver.expect_request("/a").respond_with_response(Response(status=307, headers={"Location": "/b?x=1"}))
    httpserver.expect_request("/b").respond_with_handler(
        lambda request: Response(f"{request.method} {request.query_string.decode()} {request.data.decode()}")
    )
    httpserver.expect_request("/loop").respond_with_response(Response(status=302, headers={"Location": "/loop"}))
    httpserver.expect_request("/post").respond_with_response(Response(status=303, headers={"Location": "/b"}))

    kept = await client.send(HttpRequest(method="POST", url=httpserver.url_for("/a"), content=b"body"))
    assert kept.body == b"POST x=1 body"
    seen = await client.send(HttpRequest(method="POST", url=httpserver.url_for("/post"), content=b"body"))
    assert seen.body == b"GET  "
    assert (await refused(client, httpserver.url_for("/loop"))).code == "http_too_many_redirects"
    stays = await client.send(HttpRequest(method="GET", url=httpserver.url_for("/loop"), redirects_max=0))
    assert stays.status == 302


async def test_secrets_do_not_follow_to_another_origin(httpserver: HTTPServer):
    with HTTPServer(port=0) as other:
        seen: list[Request] = []

        def keep(request: Request) -> Response:
            seen.append(request)
            return Response("ok")

        other.expect_request("/").respond_with_handler(keep)
        target = other.url_for("/").replace("localhost", "127.0.0.1")
        httpserver.expect_request("/go").respond_with_response(Response(status=302, headers={"Location": target}))
        client = GuardedClient(OutboundPolicy(allow=(f"127.0.0.1:{httpserver.port}", f"127.0.0.1:{other.port}")))
        headers = [("Authorization", "Bearer t"), ("Cookie", "a=b"), ("X-API-Key", "k"), ("X-Plain", "p")]
        url = httpserver.url_for("/go").replace("localhost", "127.0.0.1")
        await client.send(HttpRequest(method="GET", url=url, headers=headers))
        await client.close()

    assert seen[0].headers["X-Plain"] == "p"
    assert not {"Authorization", "Cookie", "X-Api-Key"} & set(seen[0].headers.keys())


async def test_an_answer_beyond_its_limit_and_one_that_does_not_come(client: GuardedClient, httpserver: HTTPServer):
    httpserver.expect_request("/large").respond_with_data(b"x" * 100_000)
    release = asyncio.get_running_loop().create_future()

    def never(_request: Request) -> Response:
        import time

        time.sleep(0.5)
        return Response("late")

    httpserver.expect_request("/slow").respond_with_handler(never)
    error = await refused(client, httpserver.url_for("/large"), response_bytes_max=10_000)
    assert error.code == "http_response_too_large"
    slow = await refused(client, httpserver.url_for("/slow"), timeout_ms=50)
    assert (slow.code, slow.retryable) == ("http_timeout", True)
    release.cancel()


async def test_nothing_listens_there(client: GuardedClient, httpserver: HTTPServer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        alone = GuardedClient(OutboundPolicy(allow=(f"127.0.0.1:{port}",)))
        error = await refused(alone, f"http://127.0.0.1:{port}/")
        await alone.close()
    assert (error.code, error.retryable) == ("http_connect_failed", True)


async def test_a_name_is_connected_to_what_was_checked_and_any_closed_address_closes_it(monkeypatch):
    class Plain(httpcore2.AsyncMockBackend):
        def __init__(self) -> None:
            super().__init__([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
            self.hosts: list[str] = []

        async def connect_tcp(self, host, port, **options):
            self.hosts.append(host)
            return await super().connect_tcp(host, port, **options)

    answers = [["93.184.216.34"], ["93.184.216.34", "127.0.0.1"]]
    plain = Plain()

    async def resolve(_self, _host, _port):
        return answers.pop(0)

    monkeypatch.setattr(GuardedBackend, "_resolve", resolve)
    client = GuardedClient(OutboundPolicy(), plain)
    assert (await client.send(HttpRequest(method="GET", url="http://rebind.test/"))).body == b"ok"
    assert plain.hosts == ["93.184.216.34"], "the address that was checked, not the name"
    other = GuardedClient(OutboundPolicy(), plain)
    assert (await refused(other, "http://rebind.test/")).code == "http_address_refused"
    assert plain.hosts == ["93.184.216.34"]


async def test_proxies_of_the_environment_are_not_used(client: GuardedClient, httpserver: HTTPServer, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    httpserver.expect_request("/").respond_with_data("direct")
    assert (await client.send(HttpRequest(method="GET", url=httpserver.url_for("/")))).body == b"direct"


async def test_forms_parts_and_queries_arrive(client: GuardedClient, httpserver: HTTPServer):
    def tell(request: Request) -> Response:
        files = {name: (f.filename, f.mimetype, f.read().decode()) for name, f in request.files.items()}
        return Response(f"{sorted(request.args.items(multi=True))} {sorted(request.form.items(multi=True))} {files}")

    httpserver.expect_request("/").respond_with_handler(tell)
    url = httpserver.url_for("/?a=1")
    query = [("a", "2"), ("b c", "ü&=")]
    form = await client.send(HttpRequest(method="POST", url=url, query=query, form=[("x", "1"), ("x", "2")]))
    assert form.body.decode() == "[('a', '1'), ('a', '2'), ('b c', 'ü&=')] [('x', '1'), ('x', '2')] {}"
    parts = [
        HttpFile(name="n", content=b"v"),
        HttpFile(name="f", content=b"abc", file_name="a.txt", mime_type="text/plain"),
    ]
    sent = await client.send(HttpRequest(method="PUT", url=url, parts=parts))
    assert sent.body.decode().endswith("[('n', 'v')] {'f': ('a.txt', 'text/plain', 'abc')}")
