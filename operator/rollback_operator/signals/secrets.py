"""What is shown to a Prometheus: from a Secret, read as the policy's service account, or from the operator's files.

No value of a Secret is in any message or representation.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.signals.shared import Shared

KEPT = 60.0
KEPT_TROUBLE = 15.0
"""Seconds; shorter, because somebody may be mending it."""
LARGEST_CA = 64 * 1024

_VALUE = re.compile(r"[\x21-\x7e]+")


class NoAccess(Exception):  # noqa: N818 - named as what it tells
    """What has to be shown cannot be had; the message says why and what to do, and holds none of it."""


@dataclass(frozen=True, slots=True)
class Access:
    """What is shown at the door: the Authorization header, and which authorities are trusted (None: the system's)."""

    authorization: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)


NO_ACCESS = Access()


class Secrets:
    """Access by Secret, kept for a minute.

    Args:
        api: the API server.
        clock: seconds; only differences matter.
    """

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._shared: Shared[tuple[str, str, str], Access | str] = Shared(
            lambda value: KEPT_TROUBLE if isinstance(value, str) else KEPT, clock
        )

    async def access(self, namespace: str, name: str, account: str) -> Access:
        """What a Secret gives, if that service account may read it.

        Raises:
            NoAccess: it may not, or the Secret does not hold what is needed.
        """
        found = await self._shared.get((namespace, name, account), lambda: self._read(namespace, name, account))
        if isinstance(found, str):
            raise NoAccess(found)
        return found

    async def close(self) -> None:
        """Stop reading."""
        await self._shared.close()

    async def _read(self, namespace: str, name: str, account: str) -> Access | str:
        """Access, or why there is none."""
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"
        secret = f"Secret {namespace}/{name}"
        try:
            as_ = ServiceAccount(namespace, account)
            return _access((await self._api.get(path, as_=as_)).get("data") or {})
        except errors.NotFound:
            return f"{secret} does not exist: create it, or correct secretRef"
        except errors.Forbidden:
            return f"service account {namespace}/{account} may not get {secret}: grant that, or name another account"
        except errors.KubeError as error:
            return f"{secret} could not be read: {error}"
        except NoAccess as error:
            return f"{secret}: {error}"
        except ValueError as error:
            return f"{secret} could not be read: {error}"


class Files:
    """The operator's own access: files, such as mounted ones, that are read again when they change."""

    def __init__(self, token: Path | None = None, ca: Path | None = None) -> None:
        self._token = token
        self._ca = ca
        self._seen: tuple[object, ...] | None = None
        self._access = NO_ACCESS

    @property
    def shows_token(self) -> bool:
        """Whether the operator shows a token of its own."""
        return self._token is not None

    def access(self) -> Access:
        """What the files hold now.

        Raises:
            NoAccess: one cannot be read, or does not hold what it should.
        """
        try:
            seen = tuple(_stamp(path) for path in (self._token, self._ca))
            if seen != self._seen:
                held = {"token": self._token, "ca.crt": self._ca}
                self._access = _held({key: path.read_bytes() for key, path in held.items() if path})
                self._seen = seen
        except OSError as error:
            raise NoAccess(f"the operator cannot read {error.filename}: {error.strerror}") from None
        return self._access


def _stamp(path: Path | None) -> object:
    if path is None:
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


def _access(data: Mapping[str, Any]) -> Access:
    """What a Secret's data gives.

    Raises:
        NoAccess: it does not hold what is needed.
    """
    held: dict[str, bytes] = {}
    for key in _KEYS.intersection(data):
        try:
            held[key] = base64.b64decode(data[key], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise NoAccess(f"{key} is not base64") from None
    if not held:
        raise NoAccess("it holds neither token, nor username and password, nor ca.crt")
    return _held(held)


_KEYS = {"token", "username", "password", "ca.crt"}


def _held(held: Mapping[str, bytes]) -> Access:
    return Access(authorization=_authorization(held), tls=_trust(held["ca.crt"]) if "ca.crt" in held else None)


def _authorization(held: Mapping[str, bytes]) -> str | None:
    if "token" in held:
        token = held["token"].decode("ascii", "replace").strip()
        # A line break in it would begin another header.
        if not _VALUE.fullmatch(token):
            raise NoAccess("token is empty or holds what no token has, such as a space or a line break")
        return f"Bearer {token}"
    if "username" not in held and "password" not in held:
        return None
    if "username" not in held or "password" not in held:
        raise NoAccess("username and password are only of use together")
    user, password = (held[key].rstrip(b"\r\n") for key in ("username", "password"))
    if b":" in user:
        raise NoAccess("username holds a colon, which cannot be sent")
    return "Basic " + base64.b64encode(user + b":" + password).decode()


def _trust(ca: bytes) -> ssl.SSLContext:
    if len(ca) > LARGEST_CA:
        raise NoAccess(f"ca.crt is larger than {LARGEST_CA // 1024} KiB")
    try:
        return _trusting(ca)
    except (ssl.SSLError, ValueError):
        raise NoAccess("ca.crt holds no certificate in PEM form") from None


@lru_cache(maxsize=64)
def _trusting(ca: bytes) -> ssl.SSLContext:
    """One context for each bundle: connections are only reused under the same one."""
    return ssl.create_default_context(cadata=ca.decode("ascii"))
