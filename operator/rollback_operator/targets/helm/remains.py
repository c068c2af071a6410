"""What an attempt that broke off may have left standing of the revision before it.

Helm deletes what the newest revision names and the one that it goes to does not. So what is left is added to the
manifest of the attempt: then the next rollback deletes it, whoever makes that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from rollback_operator.kube import errors
from rollback_operator.kube.client import Api
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import manifest
from rollback_operator.targets.helm.manifest import ManifestError
from rollback_operator.targets.helm.objects import Kinds, path_of_definition
from rollback_operator.targets.helm.records import Record, UnreadableError
from rollback_operator.targets.helm.store import Store

Object = dict[str, Any]


async def with_remains(api: Api, store: Store, where: Where, records: Sequence[Record], release: Object) -> str:
    """The manifest of `release`, an attempt that is among `records`, with what may be left of the one before.

    Without what nothing is left of: Helm fails over a kind that is not served any more. Of a large release it takes its
    time, and others are served meanwhile.
    """
    text = str(release.get("manifest") or "")
    before = [one for one in records if one.number < int(release["version"])]
    try:
        stored = await store.read(where, before[-1])
        parts = await asyncio.to_thread(manifest.parts_of, str(stored.release.get("manifest") or ""))
        gone = await _gone(api, where, [one for _, found in parts for one in found.values()])
        return await asyncio.to_thread(manifest.with_what_may_be_left, text, parts, gone)
    except (IndexError, UnreadableError, ManifestError, errors.NotFound):
        return text


async def _gone(api: Api, where: Where, things: Sequence[Object]) -> set[tuple[str, str]]:
    """apiVersion and kind of objects whose kind there is no more, or is on its way out; none if nobody tells."""
    try:
        served = await Kinds(api).of(where, things)
    except errors.KubeError:
        return set()
    ending = {
        manifest.defined_by(one) for one in things if one["kind"] == manifest.CRD and await _ends(api, where, one)
    }
    types = {manifest.type_of(one) for one in things}
    return {one for one in types if one not in served or (one[0].rpartition("/")[0], one[1]) in ending}


async def _ends(api: Api, where: Where, definition: Object) -> bool:
    """Whether a definition is being deleted: its kind is served until it is gone."""
    try:
        there = await api.get(path_of_definition(definition), as_=where.account)
    except errors.KubeError:
        return False
    return "deletionTimestamp" in there["metadata"]
