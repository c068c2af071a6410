"""Copies of what a rollback replaces: whether one is kept, what it is called, and how it is brought back by hand."""

from __future__ import annotations

import hashlib

from rollback_operator.api.common import TargetRef
from rollback_operator.api.options import Backup
from rollback_operator.api.policy import PolicySpec
from rollback_operator.api.request import KeptCopy, RequestSpec
from rollback_operator.core.values import Request

MANIFESTS = "manifests"
"""Key of the Secret's data: JSON, compressed by gzip."""
CONFIGURATION = "configuration"
"""Key of the configuration that was replaced, if any was: a List."""
PATCH = "patch"
"""Key of what brings an Application back: a JSON patch."""
RECORD = "record"
"""Key of a release's record: the Secret in which Helm keeps its values, chart and manifests."""
_ROOM_FOR_NAME = 200


def wish(spec: RequestSpec, policy: PolicySpec | None) -> Backup:
    """Whether a copy is asked for: as the request says, else as its policy does."""
    return spec.backup or (policy.backup if policy is not None else None) or Backup.IF_ALLOWED


def name_of(request: Request, ref: TargetRef) -> str:
    """Name of the Secret that holds a request's copy of a target: known before it is made, and no other's."""
    digest = hashlib.sha256(f"{request.uid}/{ref}".encode()).hexdigest()[:10]
    return f"rollback-backup-{request.name[:_ROOM_FOR_NAME].rstrip('.-')}-{digest}"


def restoring(namespace: str, copy: KeptCopy) -> str:
    """The command that puts everything back to what the copy holds, in the way that the kind of target asks for."""
    whole = _replacing(namespace, copy) if copy.command is None else copy.command
    if copy.command is not None and copy.reads is not None:
        whole = f"{_reading(namespace, copy, copy.reads)} | {copy.command}"
    return f"{undoing(namespace, copy)} && {whole}" if copy.configuration else whole


def _replacing(namespace: str, copy: KeptCopy) -> str:
    """The command that replaces what is there by the manifests.

    Where it can be, the object is handed over as it is: otherwise `kubectl replace` would note all of it, defaults and
    the autoscaler's number of replicas too, as what was applied last, and the next `kubectl apply` would undo these.
    """
    replacing = "kubectl replace -f -" if copy.path is None else f"kubectl replace --raw {copy.path} -f - > /dev/null"
    return f"{_reading(namespace, copy, MANIFESTS)} | {replacing}"


def undoing(namespace: str, copy: KeptCopy) -> str:
    """The command that puts back the configuration that was replaced, and nothing else."""
    return f"{_reading(namespace, copy, CONFIGURATION)} | kubectl replace -f -"


def _reading(namespace: str, copy: KeptCopy, key: str) -> str:
    return f"kubectl -n {namespace} get secret {copy.secret} -o jsonpath='{{.data.{key}}}' | base64 -d | gunzip"
