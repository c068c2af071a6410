"""Objects as a person could apply them: without what the API server and controllers write.

Shared by the kinds whose target is an object of the API server.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from rollback_operator.api import REQUEST_ANNOTATION

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


def bare(thing: Object, *, without: Iterable[str] = ()) -> Object:
    """What `kubectl replace` takes to make the object again what `thing` shows.

    `without`: annotations that a controller keeps its own count in. They are left out, and so is the mark of the
    rollback that came before: put back, they would make the object look like an earlier state of itself, and the
    preconditions of other requests rest on its not doing so.
    """
    kept = {name: copy.deepcopy(value) for name, value in thing.items() if name != "status"}
    metadata = {name: value for name, value in kept["metadata"].items() if name not in _OF_THE_SERVER}
    annotations = metadata.pop("annotations", None) or {}
    counted = {*without, REQUEST_ANNOTATION}
    left = {name: value for name, value in annotations.items() if name not in counted}
    kept["metadata"] = {**metadata, **({"annotations": left} if left else {})}
    return kept
