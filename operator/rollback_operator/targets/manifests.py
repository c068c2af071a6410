"""Objects as a person could apply them, without what the API server and controllers write; and Secrets that keep them.

Shared by the kinds whose target is an object of the API server, and by whatever keeps copies.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.targets.metadata import REVISION
from rollback_operator.untrusted import UntrustedError, json_in

LARGEST = 1024 * 1024
"""Bytes of data that the API server takes in one Secret."""

LARGEST_UNPACKED = 16 * 1024 * 1024
"""Bytes that what was kept may unpack to."""
MOST_VALUES = 100_000
"""Values in it: a ConfigMap of a megabyte has fewer keys."""

Object = dict[str, Any]

_OF_THE_SERVER = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)


def bare(thing: Object) -> Object:
    """What `kubectl replace` takes to make the object again what `thing` shows.

    Left out are the annotation that a controller keeps its count in and the mark of the rollback that came before:
    put back, they would make the object look like an earlier state of itself, and the preconditions of other requests
    rest on its not doing so.
    """
    kept = {name: copy.deepcopy(value) for name, value in thing.items() if name != "status"}
    metadata = {name: value for name, value in kept["metadata"].items() if name not in _OF_THE_SERVER}
    annotations = metadata.pop("annotations", None) or {}
    left = {name: value for name, value in annotations.items() if name not in (REVISION, REQUEST_ANNOTATION)}
    kept["metadata"] = {**metadata, **({"annotations": left} if left else {})}
    return kept


def compressed(whole: Any) -> bytes:
    """A JSON document, such as an object or a List of them, as a Secret keeps it; the same gives the same bytes."""
    return gzip.compress(json.dumps(whole, indent=1, ensure_ascii=False).encode() + b"\n", mtime=0)


def unpacked(packed: str) -> Object | None:
    """The reverse of `compressed`, from a Secret's data; None if it is no object: who may write Secrets may lie."""
    try:
        stream = zlib.decompressobj(wbits=31)
        text = stream.decompress(base64.b64decode(packed, validate=True), LARGEST_UNPACKED)
        thing = json_in(text, MOST_VALUES) if stream.eof else None
    except (ValueError, zlib.error, UntrustedError):
        return None
    return thing if isinstance(thing, dict) else None


def holding(
    place: tuple[str, str], type_: str, labels: dict[str, str], owner: Object, data: Mapping[str, bytes]
) -> Object:
    """The Secret at `place` (namespace and name) that keeps `data`, never changed and deleted with its owner."""
    namespace, name = place
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]},
        "type": type_,
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
