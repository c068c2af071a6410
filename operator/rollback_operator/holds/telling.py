"""What all holds have in common: the condition that tells of one, and what a repository is shown."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from urllib.parse import quote

from rollback_operator.api import REQUESTS
from rollback_operator.api.request import RequestStatus
from rollback_operator.core import conditions as on
from rollback_operator.core.hold import Goes, Standing
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


async def credentials(api: Api, account: ServiceAccount, secret: str | None) -> Credentials | None:
    """What a repository is shown, from a Secret in the account's namespace; without one the repository says so.

    Raises:
        kube.errors.KubeError: no answer; that it may not be read, or is not there, is one.
    """
    if secret is None:
        return None
    path = f"/api/v1/namespaces/{account.namespace}/secrets/{quote(secret, safe='')}"
    try:
        data = (await api.get(path, as_=account)).get("data") or {}
        fields = {name: base64.b64decode(data.get(name) or "").decode() for name in ("url", "username", "password")}
    except (errors.Forbidden, errors.NotFound, ValueError):
        return None
    return Credentials(**fields) if fields["url"] else None
