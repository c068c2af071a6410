"""What an attempt that broke off may have left standing of the revision before it.

Helm deletes what the newest revision names and the one that it goes to does not. So what is left is added to the
manifest of the attempt: then the next rollback deletes it, whoever makes that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import manifest
from rollback_operator.targets.helm.manifest import ManifestError
from rollback_operator.targets.helm.objects import Kinds
from rollback_operator.targets.helm.records import Record, UnreadableError
from rollback_operator.targets.helm.store import Store

Object = dict[str, Any]


async def with_remains(api: Api, store: Store, where: Where, records: Sequence[Record], release: Object) -> str:
    """The manifest of `release`, an attempt that is among `records`, with what may be left of the one before.

    Without what nothing is left of: Helm fails over a kind that is not served any more.
    """
    text = str(release.get("manifest") or "")
    before = [one for one in records if one.number < int(release["version"])]
    try:
        stored = await store.read(where, before[-1])
        left = str(stored.release.get("manifest") or "")
        return manifest.with_what_may_be_left(text, left, await _unserved(api, where, left))
    except (IndexError, UnreadableError, ManifestError, errors.NotFound):
        return text


async def _unserved(api: Api, where: Where, text: str) -> set[tuple[str, str]]:
    """apiVersion and kind of objects whose kind there is no more; none if nobody tells."""
    things = manifest.objects(text).values()
    try:
        served = await Kinds(api).of(where, things)
    except errors.KubeError:
        return set()
    return {manifest.type_of(one) for one in things} - set(served)
