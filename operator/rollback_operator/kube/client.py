"""Calls to the API server: JSON in, JSON out, errors that say what to think of the outcome.

The official client's asynchronous part brings configuration, authentication (in-cluster tokens and their rotation,
kubeconfig, exec plugins) and transport; its typed models are not loaded, they cost tens of megabytes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.incluster_config import load_incluster_config
from yarl import URL

from rollback_operator.kube import errors
from rollback_operator.kube.identity import Identity, ServiceAccount
from rollback_operator.kube.words import without_values

FIELD_MANAGER = "rollback-operator"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
METADATA_OF_ALL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
METADATA_OF_ONE = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
"""What a list, or one object, is asked for as when content is not wanted; neither is taken for the other."""

READ_TIMEOUT = 10.0
WRITE_TIMEOUT = 5
"""Seconds; also sent to the API server as `timeout`, which bounds how long it may work on the write."""
LONGEST_WRITE = WRITE_TIMEOUT + 1 + WRITE_TIMEOUT
"""Seconds after which a write that was begun cannot happen any more: all tries together, and then the server's work."""
ATTEMPTS = 4
LONGEST_WAIT = 8.0

_NEVER_PASSED = frozenset(
    {"host", "authorization", "connection", "content-length", "transfer-encoding", "accept-encoding", "keep-alive"}
)
"""Headers of a call that is passed on which are the connection's own, or say who calls."""

_ELSEWHERE = re.compile(r"[?#]|/(\.|%2e){0,2}(/|$)", re.IGNORECASE)
"""In a path: where it ends, and segments that are empty or mean the one above, which the transport resolves."""

JsonObject = dict[str, Any]
Query = Mapping[str, str | int]


async def load_configuration() -> Configuration:
    """Configuration of the API server to talk to: `KUBECONFIG`, else the pod's own account, else `~/.kube/config`.

    Raises:
        kubernetes.aio.config.ConfigException: there is none that can be used.
    """
    configuration = Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        # Named, because the library reads the variable when it is imported.
        path = os.environ.get("KUBECONFIG") or None
        await kube_config.load_kube_config(path, client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = 100
    return configuration


class Api:
    """The API server, as seen by whoever each call is made as.

    Reads are tried again when no usable answer came. Writes are tried again only when they certainly were not done
    (429, 401, no connection); for any other trouble the caller has to look at the world first. The transport repeats
    PUT and DELETE once by itself when a connection breaks: both carry what they replace, so that it changes nothing.
    """

    def __init__(self, configuration: Configuration, on_call: Callable[[str, str, int], None]) -> None:
        self._configuration = configuration
        self._rest: Any = RESTClientObject(configuration)
        self._on_call = on_call

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    def addresses(self) -> tuple[str, ...]:
        """Where the API server is: `IP:port`, one for each address that its name has; none if it has none."""
        url = urlsplit(self._configuration.host)
        port = url.port or 443
        try:
            found = socket.getaddrinfo(url.hostname, port, proto=socket.IPPROTO_TCP)
        except OSError:
            return ()
        hosts = dict.fromkeys(str(address[0]) for *_, address in found)
        return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)

    async def get(
        self, path: str, *, as_: Identity, query: Query | None = None, metadata_only: bool = False
    ) -> JsonObject:
        """One object, or a list; of a list perhaps the objects' metadata alone."""
        return await self._call("GET", path, as_, query=query, accept=METADATA_OF_ALL if metadata_only else JSON)

    async def metadata(self, path: str, *, as_: Identity) -> JsonObject:
        """The metadata of one object, without its content."""
        found: JsonObject = (await self._call("GET", path, as_, accept=METADATA_OF_ONE))["metadata"]
        return found

    async def create(self, path: str, body: JsonObject, *, as_: Identity, dry_run: bool = False) -> JsonObject:
        """Create an object; `path` is the collection's."""
        return await self._call("POST", path, as_, body=body, query={"dryRun": "All"} if dry_run else None)

    async def replace(self, path: str, body: JsonObject, *, as_: Identity, dry_run: bool = False) -> JsonObject:
        """PUT an object or its status; `body` carries the resourceVersion that it replaces.

        Raises:
            Conflict: the object changed meanwhile; nothing was written.
        """
        query: dict[str, str | int] | None = {"dryRun": "All"} if dry_run else None
        return await self._call("PUT", path, as_, body=body, query=query)

    async def patch(
        self,
        path: str,
        operations: list[JsonObject],
        *,
        as_: Identity,
        field_manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> JsonObject:
        """Apply a JSON patch; all of its operations happen, or none.

        Raises:
            Conflict: a `test` in it failed, or the object changed meanwhile.
        """
        query: dict[str, str | int] = {"fieldManager": field_manager}
        if dry_run:
            query["dryRun"] = "All"
        return await self._call("PATCH", path, as_, body=operations, query=query, content=JSON_PATCH)

    async def try_to_apply(
        self, path: str, thing: JsonObject, *, as_: Identity, field_manager: str, force: bool
    ) -> JsonObject:
        """Apply an object by server-side apply, as a dry run: nothing is stored.

        Raises:
            Conflict: others own fields of it.
        """
        query: dict[str, str | int] = {"fieldManager": field_manager, "force": str(force).lower(), "dryRun": "All"}
        return await self._call("PATCH", path, as_, body=thing, query=query, content=APPLY)

    async def delete(self, path: str, *, as_: Identity, uid: str, version: str | None = None) -> JsonObject:
        """Delete the object of that uid, and no later one of the same name; `version`: only as it was read.

        Raises:
            Conflict: it is another object, or has changed.
        """
        only = {"uid": uid} if version is None else {"uid": uid, "resourceVersion": version}
        return await self._call("DELETE", path, as_, body={"preconditions": only})

    @asynccontextmanager
    async def forward(
        self,
        verb: str,
        path_and_query: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        as_: ServiceAccount,
        limit: float | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Pass a call of somebody else on as `as_`, once, and give its answer as a stream; `limit` is in seconds.

        Raises:
            NotDone: there is no connection; the call certainly changed nothing.
            Unavailable: no answer; it may or may not have been done.
        """
        call = _Call(verb, path_and_query.partition("?")[0], as_, None, None, JSON)
        ours = await self._headers(call)
        plain = {name: value for name, value in headers.items() if _may_be_passed(name)}
        given = {name: value for name, value in ours.items() if name in ("Authorization", "Impersonate-User")}
        if self._rest.pool_manager is None:
            self._rest.pool_manager = self._rest._create_pool_manager()  # noqa: SLF001 - it makes one with its first call
        try:
            async with self._rest.pool_manager.request(
                verb,
                URL(self._configuration.host + path_and_query, encoded=True),
                headers={**plain, **given},
                data=body or None,
                timeout=aiohttp.ClientTimeout(total=limit, sock_connect=5),
                proxy=self._configuration.proxy,
                allow_redirects=False,
            ) as response:
                self._on_call(verb, call.path, response.status)
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._on_call(verb, call.path, 0)
            raise errors.NotDone(f"{call}: cannot connect to the API server: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._on_call(verb, call.path, 0)
            raise errors.Unavailable(f"{call}: no answer: {type(error).__name__} {error}") from error

    async def _call(
        self,
        verb: str,
        path: str,
        as_: Identity,
        *,
        body: Any = None,
        query: Query | None = None,
        content: str = JSON,
        accept: str = JSON,
    ) -> JsonObject:
        """Make a call, again if that is safe; a write is over, tries included, a second after `WRITE_TIMEOUT`."""
        call = _Call(verb, path, as_, body, query, content, accept)
        if _ELSEWHERE.search(path):
            raise errors.Invalid(f"{call}: this is not called, because there can be no object of that name")
        begun = time.monotonic()
        for attempt in itertools.count(1):
            try:
                return await self._once(call, WRITE_TIMEOUT + 1 - (time.monotonic() - begun))
            except errors.Unavailable as error:
                pause = _pause(attempt, error)
                if attempt == ATTEMPTS or not call.may_repeat(error, time.monotonic() - begun + pause):
                    raise
                await asyncio.sleep(pause)
        raise AssertionError

    async def _once(self, call: _Call, left: float) -> JsonObject:
        url = self._configuration.host + call.path + call.query_string()
        limit = aiohttp.ClientTimeout(total=left if call.writes else READ_TIMEOUT, sock_connect=5)
        try:
            headers = await self._headers(call)
            response = await self._rest.request(call.verb, url, headers=headers, body=call.body, _request_timeout=limit)
            text = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._on_call(call.verb, call.path, 0)
            raise errors.NotDone(f"{call}: cannot connect to the API server: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._on_call(call.verb, call.path, 0)
            raise errors.Unavailable(f"{call}: no answer: {type(error).__name__} {error}") from error
        self._on_call(call.verb, call.path, response.status)
        return _answer(call, response, text)

    async def _headers(self, call: _Call) -> dict[str, str]:
        headers = {"Content-Type": call.content, "Accept": call.accept, "User-Agent": FIELD_MANAGER}
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        if isinstance(call.as_, ServiceAccount):
            headers["Impersonate-User"] = call.as_.user
        return headers


@dataclass(frozen=True, slots=True)
class _Call:
    verb: str
    path: str
    as_: Identity
    body: Any
    query: Query | None
    content: str
    accept: str = JSON

    def __str__(self) -> str:
        return f"{self.verb} {self.path} as {self.as_}"

    @property
    def writes(self) -> bool:
        return self.verb != "GET"

    def may_repeat(self, error: errors.Unavailable, later: float) -> bool:
        """Whether the call may be sent again `later` seconds after it was begun."""
        if self.writes:
            return isinstance(error, errors.NotDone) and later < WRITE_TIMEOUT
        return True

    def query_string(self) -> str:
        items = dict(self.query or {})
        if self.writes:
            items["timeout"] = f"{WRITE_TIMEOUT}s"
        return "?" + urlencode(items) if items else ""


def _may_be_passed(header: str) -> bool:
    return header.lower() not in _NEVER_PASSED and not header.lower().startswith("impersonate-")


def _answer(call: _Call, response: Any, text: bytes) -> JsonObject:
    status: int = response.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        try:
            answer: JsonObject = json.loads(text)
        except ValueError as error:
            raise errors.Unavailable(f"{call}: the answer is not JSON") from error
        return answer
    said = _message(text) or str(response.reason)
    message = f"{call}: {status} {said}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise errors.NotDone(message, _retry_after(response))
    raise _error_class(status, call.verb, said)(message)


def _error_class(status: int, verb: str, said: str) -> type[errors.KubeError]:
    if status == HTTPStatus.CONFLICT:
        return errors.AlreadyExists if verb == "POST" else errors.Conflict
    if verb == "PATCH" and status == HTTPStatus.UNPROCESSABLE_ENTITY and _test_failed(said):
        return errors.Conflict
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return errors.Unavailable
    return _BY_STATUS.get(status, errors.Invalid)


_BY_STATUS: Mapping[int, type[errors.KubeError]] = {
    HTTPStatus.UNAUTHORIZED: errors.NotDone,
    HTTPStatus.FORBIDDEN: errors.Forbidden,
    HTTPStatus.NOT_FOUND: errors.NotFound,
    HTTPStatus.GONE: errors.Expired,
}


def _test_failed(said: str) -> bool:
    """Whether a JSON patch did not fit the object: the API server says so only in these words, whichever `test`."""
    return said == "the server rejected our request due to an error in our request"


def _message(text: bytes) -> str:
    try:
        return without_values(str(json.loads(text).get("message", "")))[:1000]
    except (ValueError, AttributeError):
        return ""


def _retry_after(response: Any) -> float | None:
    try:
        return float(response.getheader("Retry-After"))
    except (TypeError, ValueError):
        return None


def _pause(attempt: int, error: errors.Unavailable) -> float:
    if isinstance(error, errors.NotDone) and error.retry_after is not None:
        return min(error.retry_after, LONGEST_WAIT)
    backoff = min(0.1 * 2.0**attempt, LONGEST_WAIT)
    return backoff * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
