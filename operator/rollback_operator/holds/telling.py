"""What all holds have in common: the condition that tells of one, and what a repository is shown."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote

from rollback_operator.api import REQUESTS
from rollback_operator.api.request import RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.hold import Comparison, Goes, Standing
from rollback_operator.gitobjects import Credentials
from rollback_operator.kube import errors, events, resources
from rollback_operator.kube.client import Api
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.kube.resources import Key


async def tell(api: Api, key: Key, uid: str, state: on.State, said: Standing) -> bool:
    """Write the condition Held of a request, if it changed, and an Event; gives whether the request is still there.

    Raises:
        kube.errors.KubeError: it could not be read or written.
    """
    body = await resources.read(api, REQUESTS, key)
    if body is None or body["metadata"]["uid"] != uid:
        return False
    status = RequestStatus.model_validate(body.get("status") or {})
    change: on.Change = (state, said.reason, said.message)
    now = datetime.now(UTC)
    conditions = on.updated(status.conditions, {on.HELD: change}, body["metadata"]["generation"], now)
    if conditions == status.conditions:
        return True
    before = on.find(status.conditions, on.HELD)
    await resources.write_status(api, REQUESTS, body, status.model_copy(update={"conditions": conditions}))
    if before is None or before.reason != said.reason:
        warning = isinstance(said, Goes) and said.bad
        await events.emit(api, "RollbackRequest", body["metadata"], said.reason, said.message, warning=warning)
    return True


@dataclass(frozen=True, slots=True)
class Shown:
    """What a repository is shown, or why it is shown nothing although a Secret is named."""

    credentials: Credentials | None = None
    trouble: str = ""

    def added_to(self, comparison: Comparison) -> Comparison:
        """`comparison`, which says of the Secret as well if it could not be made."""
        if comparison.changed is not None or not self.trouble:
            return comparison
        return replace(comparison, words=f"{comparison.words}. {self.trouble}")


async def credentials(api: Api, account: ServiceAccount, secret: str | None) -> Shown:
    """What a repository is shown, from a Secret in the account's namespace; without one the repository says so.

    Raises:
        kube.errors.KubeError: no answer; that it may not be read, or is not there, is one.
    """
    if secret is None:
        return Shown()
    path = f"/api/v1/namespaces/{account.namespace}/secrets/{quote(secret, safe='')}"
    what = f"Secret {secret} in namespace {account.namespace}, which hold.gitSecretName names,"
    try:
        data = (await api.get(path, as_=account)).get("data") or {}
        fields = {name: base64.b64decode(data.get(name) or "").decode() for name in ("url", "username", "password")}
    except errors.Forbidden:
        return Shown(trouble=f"{what} may not be read by service account {account}")
    except errors.NotFound:
        return Shown(trouble=f"{what} is not there")
    except ValueError:
        return Shown(trouble=f"{what} holds what is no text")
    return Shown(Credentials(**fields)) if fields["url"] else Shown(trouble=f"{what} has no entry url")
