"""The API server's answers: what Helm is told, and what an answer means for it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from aiohttp import web

Object = dict[str, Any]

SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
"""What a deletion is answered."""


def parsed(text: bytes) -> Object:
    """The JSON of an answer; empty if it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def transient(status: int) -> bool:
    """Whether the same call may be answered well a moment later."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def of_managers(answer: Object) -> bool:
    """Whether others own what was to be applied: that stays so."""
    causes = (answer.get("details") or {}).get("causes") or []
    return any(isinstance(one, dict) and one.get("reason") == "FieldManagerConflict" for one in causes)


def of_what_is_there(answer: Object) -> bool:
    """Whether an object of that name is there already: that stays so, too, until somebody deletes it."""
    return answer.get("reason") == "AlreadyExists"


def failure(status: int, message: str) -> Object:
    """A bad answer as the API server writes it."""
    reasons = {
        401: "Unauthorized",
        403: "Forbidden",
        409: "Conflict",
        429: "TooManyRequests",
        503: "ServiceUnavailable",
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reasons.get(status, "Unknown"),
        "code": int(status),
    }


def status(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """The same as a response."""
    return web.json_response(failure(status, message), status=status, headers=headers)
