"""Kubernetes Events: what `kubectl describe` and `kubectl events` show of a request."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api import API_VERSION
from rollback_operator.kube import errors
from rollback_operator.kube.client import FIELD_MANAGER, Api
from rollback_operator.kube.identity import OPERATOR

log = logging.getLogger(__name__)
MAX_NOTE = 1024


async def emit(api: Api, kind: str, metadata: dict[str, Any], reason: str, message: str, *, warning: bool) -> None:
    """Record an Event about one of our objects, once: its name is made of what it says.

    An Event is a courtesy: trouble with it is logged and holds nothing up.
    """
    note = message if len(message) <= MAX_NOTE else message[: MAX_NOTE - 2] + " …"
    digest = hashlib.sha256(f"{metadata['uid']}/{reason}/{note}".encode()).hexdigest()[:16]
    name = metadata["name"][:200].rstrip("-.")  # what is cut off must leave a name
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "reason": reason,
        "message": note,
        "type": "Warning" if warning else "Normal",
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await api.create(f"/api/v1/namespaces/{metadata['namespace']}/events", event, as_=OPERATOR)
    except errors.AlreadyExists:
        return
    except errors.KubeError as error:
        log.warning("An Event could not be recorded: %s", error)
