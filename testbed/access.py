"""Who may talk to a cluster's API server, and a small client for the testbed's own few calls."""

import base64
import json
import secrets
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.errors import TestbedError

ADMIN = "admin"
# Every component has a name of its own, so that the audit log tells them from people and from the operator.
COMPONENTS = (
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "kwok",
    "kubelet",
    "kube-proxy",
    "coredns",
)


@dataclass(frozen=True)
class Access:
    """The address of an API server, its authority and everyone's tokens."""

    server: str
    authority: Path
    tokens: dict[str, str]

    def kubeconfig(self, path: Path, user: str = ADMIN) -> Path:
        """Write a kubeconfig for `user` that holds everything it needs."""
        authority = self.authority.read_bytes()
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": {"server": self.server, **_embedded(authority)}}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
            "current-context": "testbed",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    def token_file(self, path: Path) -> Path:
        """Write the API server's list of tokens; all are administrators."""
        path.touch(mode=0o600)
        lines = [f'{token},{user},{user},"system:masters"\n' for user, token in self.tokens.items()]
        path.write_text("".join(lines))
        return path

    def call(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """One call as the administrator; the parsed answer, or the text where it is no JSON.

        Raises:
            OSError: when it cannot be reached.
            TestbedError: when it answers with an error status.
        """
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.tokens[ADMIN]}", "Content-Type": content},
        )
        context = ssl.create_default_context(cafile=str(self.authority))
        # No proxy: the machine may have one for the outside.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=60) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                raise TestbedError(f"{method} {path}: {error.code} {error.read().decode()}") from None
        return json.loads(text) if text.startswith(("{", "[")) else text

    def answers(self, path: str) -> bool:
        """Whether a GET of `path` succeeds now."""
        try:
            self.call("GET", path)
        except (OSError, TestbedError):
            return False
        return True


def new_tokens() -> dict[str, str]:
    """A fresh token for the administrator and for each component."""
    return {user: secrets.token_hex(16) for user in (ADMIN, *COMPONENTS)}


def _embedded(authority: bytes) -> dict[str, str]:
    return {"certificate-authority-data": base64.b64encode(authority).decode()}
