"""The guarded client: httpx2 over a network backend of ours, which resolves names itself and connects only to what it has checked."""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from time import perf_counter
from typing import Any

import httpcore2
import httpx2

from nodes.outbound.policy import OutboundPolicy
from workflow.errors import NodeError
from workflow.http import HttpRequest, HttpResponse

_CONNECTIONS_MAX = 200
_KEEPALIVE_MAX = 50
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FOR_ONE_ORIGIN = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_BODY_HEADERS = frozenset({"content-type", "content-length", "transfer-encoding", "content-encoding"})


class AddressRefused(httpcore2.ConnectError):
    """The address may not be reached."""


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that the policy permits, and to nothing else. Every address that a name has is checked."""

    def __init__(self, policy: OutboundPolicy, plain: httpcore2.AsyncNetworkBackend | None = None) -> None:
        self._policy = policy
        self._plain = plain or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, connect to what was checked: a name that changes its mind in between gains nothing."""
        addresses = await self._resolve(host, port)
        for address in addresses:
            if not self._policy.permits(address, port):
                named = f"{address}, which" if host != address else "an address that"
                raise AddressRefused(f"{host} is {named} workflows may not reach on port {port}")
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._plain.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        """Refuse."""
        raise AddressRefused(f"{path} is a socket of this host")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"the name {host} cannot be resolved: {error}") from error
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedClient:
    """`workflow.http.HttpClient` with the policy's guard on every connection; shared by all nodes of a process."""

    def __init__(self, policy: OutboundPolicy, backend: httpcore2.AsyncNetworkBackend | None = None) -> None:
        self._backend = GuardedBackend(policy, backend)
        self._clients: dict[bool, httpx2.AsyncClient] = {}

    async def close(self) -> None:
        """Close all connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    @property
    def bare(self) -> httpx2.AsyncClient:
        """The client itself, for libraries that bring their own requests: guarded as all of it is, and following no redirect."""
        return self._client(verify_tls=True)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send the request, follow its redirects, read the answer; see `HttpClient.send`."""
        begun_s = perf_counter()
        try:
            async with asyncio.timeout(request.timeout_ms / 1000):
                return await self._send(request, begun_s)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise _failed(
                request, "http_timeout", f"no answer within {request.timeout_ms} ms", retryable=True
            ) from error
        except httpx2.ConnectError as error:
            raise _not_connected(request, error) from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.CookieConflict, UnicodeError) as error:
            raise _failed(request, "http_url_invalid", str(error), retryable=False) from error
        except (httpx2.HTTPError, httpcore2.ProtocolError, ssl.SSLError, OSError) as error:
            raise _failed(request, "http_failed", f"{type(error).__name__}: {error}", retryable=True) from error

    async def _send(self, request: HttpRequest, begun_s: float) -> HttpResponse:
        client = self._client(verify_tls=request.verify_tls)
        prepared = _prepare(client, request)
        auth = httpx2.DigestAuth(*request.digest) if request.digest else None
        for hop in range(request.redirects_max + 1):
            _check_url(request, prepared.url)
            response = await client.send(prepared, stream=True, auth=auth, follow_redirects=False)
            try:
                target = response.headers.get("location")
                if response.status_code not in _REDIRECTS or not target or request.redirects_max == 0:
                    body = await _read(request, response)
                    return _answer(response, body, begun_s)
            finally:
                await response.aclose()
            if hop == request.redirects_max:
                break
            prepared = _redirected(client, prepared, response.status_code, target)
            auth = auth if prepared.url.host == httpx2.URL(request.url).host else None
        message = f"more than {request.redirects_max} redirects"
        raise _failed(request, "http_too_many_redirects", message, retryable=False)

    def _client(self, *, verify_tls: bool) -> httpx2.AsyncClient:
        if verify_tls not in self._clients:
            context = ssl.create_default_context()
            if not verify_tls:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            limits = httpx2.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_KEEPALIVE_MAX)
            transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)
            # The library takes no backend of ours, but its pool does, and that is where every connection is made.
            transport._pool = httpcore2.AsyncConnectionPool(  # noqa: SLF001
                ssl_context=context,
                max_connections=_CONNECTIONS_MAX,
                max_keepalive_connections=_KEEPALIVE_MAX,
                keepalive_expiry=15.0,
                network_backend=self._backend,
            )
            self._clients[verify_tls] = httpx2.AsyncClient(
                transport=transport, trust_env=False, timeout=None, cookies=None, headers={"User-Agent": "Rayloom"}
            )
        return self._clients[verify_tls]


def _prepare(client: httpx2.AsyncClient, request: HttpRequest) -> httpx2.Request:
    body: dict[str, Any] = {}
    if request.content is not None:
        body["content"] = request.content
    elif request.parts:
        body["files"] = [
            (part.name, (part.file_name or None, part.content, *([part.mime_type] if part.mime_type else ())))
            for part in request.parts
        ]
    elif request.form:
        fields: dict[str, list[str]] = {}
        for name, value in request.form:
            fields.setdefault(name, []).append(value)
        body["data"] = fields
    for name, value in request.headers:
        if not name or not f"{name}{value}".isprintable() or not f"{name}{value}".isascii():
            message = f"the header {name!r} holds characters that headers cannot hold"
            raise _failed(request, "http_header_invalid", message, retryable=False)
    url = httpx2.URL(request.url)
    if request.query:
        url = url.copy_merge_params(httpx2.QueryParams([*url.params.multi_items(), *request.query]))
    return client.build_request(request.method, url, headers=list(request.headers), **body)


def _check_url(request: HttpRequest, url: httpx2.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise _failed(request, "http_url_invalid", f"{url} is not an http or https address", retryable=False)
    if url.userinfo:
        message = "an address may not hold a user name or a password; use `auth`"
        raise _failed(request, "http_url_invalid", message, retryable=False)


def _redirected(client: httpx2.AsyncClient, before: httpx2.Request, status: int, target: str) -> httpx2.Request:
    url = before.url.join(target)
    method, content = before.method, before.content
    headers = [(name, value) for name, value in before.headers.multi_items() if name.lower() != "host"]
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, content = "GET", b""
        headers = [(name, value) for name, value in headers if name.lower() not in _BODY_HEADERS]
    if (url.scheme, url.host, url.port) != (before.url.scheme, before.url.host, before.url.port):
        headers = [(name, value) for name, value in headers if name.lower() not in _FOR_ONE_ORIGIN]
    return client.build_request(method, url, headers=headers, content=content or None)


async def _read(request: HttpRequest, response: httpx2.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > request.response_bytes_max:
            message = f"the answer is larger than {request.response_bytes_max} bytes"
            raise _failed(request, "http_response_too_large", message, retryable=False)
    return bytes(body)


def _answer(response: httpx2.Response, body: bytes, begun_s: float) -> HttpResponse:
    headers: dict[str, str] = {}
    for name, value in response.headers.multi_items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return HttpResponse(
        status=response.status_code,
        url=str(response.url),
        headers=headers,
        body=body,
        elapsed_ms=(perf_counter() - begun_s) * 1000,
        charset=response.charset_encoding or "utf-8",
    )


def _not_connected(request: HttpRequest, error: httpx2.ConnectError) -> NodeError:
    for cause in causes(error):
        if isinstance(cause, AddressRefused):
            return _failed(request, "http_address_refused", str(cause), retryable=False)
        if isinstance(cause, ssl.SSLError):
            return _failed(request, "http_tls_failed", str(cause), retryable=False)
    return _failed(request, "http_connect_failed", str(error) or "no connection", retryable=True)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _failed(request: HttpRequest, code: str, message: str, *, retryable: bool) -> NodeError:
    fields: Mapping[str, Any] = {"method": request.method, "url": request.url[:500], "retryable": retryable}
    return NodeError(f"{request.method} {request.url[:200]}: {message}", code, fields)
