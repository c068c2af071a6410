"""Calls to the API server: JSON in, JSON out, errors that say what to think of the outcome.

The official client's asynchronous part brings configuration, authentication (in-cluster tokens and their rotation,
kubeconfig, exec plugins) and transport; its typed models are not loaded, they cost tens of megabytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.incluster_config import load_incluster_config

from rollback_operator.kube import errors
from rollback_operator.kube.identity import Identity, ServiceAccount

FIELD_MANAGER = "rollback-operator"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"

READ_TIMEOUT = 10.0
WRITE_TIMEOUT = 5
"""Seconds; also sent to the API server as `timeout`, which bounds how long it may work on the write."""
ATTEMPTS = 4
LONGEST_WAIT = 8.0

JsonObject = dict[str, Any]
Query = Mapping[str, str | int]


async def load_configuration() -> Configuration:
    """Configuration of the API server to talk to: `KUBECONFIG` or `~/.kube/config`, else the pod's own account."""
    configuration = Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        load_incluster_config(client_configuration=configuration)
    else:
        await kube_config.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = 100
    return configuration


class Api:
    """The API server, as seen by whoever each call is made as.

    Reads are tried again when no usable answer came. Writes are tried again only when they certainly were not done
    (429, no connection); for any other trouble the caller has to look at the world first.
    """

    def __init__(self, configuration: Configuration, on_call: Any = None) -> None:
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)
        self._on_call = on_call

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def get(self, path: str, *, as_: Identity, query: Query | None = None) -> JsonObject:
        """One object, or a list."""
        return await self._call("GET", path, as_, query=query)

    async def create(self, path: str, body: JsonObject, *, as_: Identity) -> JsonObject:
        """Create an object; `path` is the collection's."""
        return await self._call("POST", path, as_, body=body)

    async def replace(self, path: str, body: JsonObject, *, as_: Identity) -> JsonObject:
        """PUT an object or its status; `body` carries the resourceVersion that it replaces."""
        return await self._call("PUT", path, as_, body=body)

    async def patch(
        self, path: str, operations: list[JsonObject], *, as_: Identity, field_manager: str = FIELD_MANAGER, dry_run: bool = False
    ) -> JsonObject:
        """Apply a JSON patch; all of its operations happen, or none.

        Raises:
            Conflict: a `test` in it failed, or the object changed meanwhile.
        """
        query: dict[str, str | int] = {"fieldManager": field_manager}
        if dry_run:
            query["dryRun"] = "All"
        return await self._call("PATCH", path, as_, body=operations, query=query, content=JSON_PATCH)

    async def delete(self, path: str, *, as_: Identity, uid: str) -> JsonObject:
        """Delete the object of that uid, and no later one of the same name."""
        return await self._call("DELETE", path, as_, body={"preconditions": {"uid": uid}})

    async def _call(
        self, verb: str, path: str, as_: Identity, *, body: Any = None, query: Query | None = None, content: str = JSON
    ) -> JsonObject:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(verb, path, as_, body, query, content)
            except errors.Unavailable as error:
                safe = verb == "GET" or isinstance(error, errors.NotDone)
                if not safe or attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(_pause(attempt, error))
        raise AssertionError("unreachable")

    async def _once(self, verb: str, path: str, as_: Identity, body: Any, query: Query | None, content: str) -> JsonObject:
        writing = verb != "GET"
        what = f"{verb} {path} as {as_}"
        url = self._configuration.host + path + _query_string(query, writing)
        limit = aiohttp.ClientTimeout(total=WRITE_TIMEOUT + 1 if writing else READ_TIMEOUT, sock_connect=5)
        try:
            headers = await self._headers(as_, content)
            response = await self._rest.request(verb, url, headers=headers, body=body, _request_timeout=limit)
            text = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._note(verb, path, 0)
            raise errors.NotDone(f"{what}: cannot connect to the API server: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._note(verb, path, 0)
            raise errors.Unavailable(f"{what}: no answer: {type(error).__name__} {error}") from error
        self._note(verb, path, response.status)
        return _answer(what, verb, response, text)

    async def _headers(self, as_: Identity, content: str) -> dict[str, str]:
        headers = {"Content-Type": content, "Accept": JSON, "User-Agent": FIELD_MANAGER}
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        if isinstance(as_, ServiceAccount):
            headers["Impersonate-User"] = as_.user
        return headers

    def _note(self, verb: str, path: str, status: int) -> None:
        if self._on_call is not None:
            self._on_call(verb, path, status)


def _query_string(query: Query | None, writing: bool) -> str:
    items = dict(query or {})
    if writing:
        items["timeout"] = f"{WRITE_TIMEOUT}s"
    return "?" + urlencode(items) if items else ""


def _answer(what: str, verb: str, response: Any, text: bytes) -> JsonObject:
    status = response.status
    if status < 300:
        try:
            answer: JsonObject = json.loads(text)
        except ValueError as error:
            raise errors.Unavailable(f"{what}: the answer is not JSON") from error
        return answer
    said = _message(text) or response.reason
    message = f"{what}: {status} {said}"
    if status == 429:
        error = errors.NotDone(message)
        error.retry_after = _retry_after(response)  # type: ignore[attr-defined]
        raise error
    raise _error_class(status, verb, said)(message)


def _error_class(status: int, verb: str, said: str) -> type[errors.KubeError]:
    if status == 409:
        return errors.AlreadyExists if verb == "POST" else errors.Conflict
    if status in (400, 422):
        return errors.Conflict if verb == "PATCH" and _test_failed(said) else errors.Invalid
    return {401: errors.Forbidden, 403: errors.Forbidden, 404: errors.NotFound, 410: errors.Expired}.get(
        status, errors.Unavailable if status >= 500 else errors.Invalid
    )


def _test_failed(said: str) -> bool:
    """Whether a JSON patch did not fit the object: the API server says so only in these words, whichever `test` it was."""
    return said == "the server rejected our request due to an error in our request"


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text).get("message", ""))[:1000]
    except (ValueError, AttributeError):
        return ""


def _retry_after(response: Any) -> float | None:
    try:
        return float(response.getheader("Retry-After"))
    except (TypeError, ValueError):
        return None


def _pause(attempt: int, error: errors.Unavailable) -> float:
    asked = getattr(error, "retry_after", None)
    backoff = float(min(0.1 * 2**attempt, LONGEST_WAIT))
    return float(min(asked, LONGEST_WAIT)) if asked is not None else backoff * random.uniform(0.5, 1.0)
