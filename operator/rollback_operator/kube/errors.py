"""What the API server's answers mean to a caller."""

from __future__ import annotations


class KubeError(Exception):
    """A call did not do what was asked. The message names the call and the API server's own words."""


class NotFound(KubeError):
    """404: the object is not there."""


class AlreadyExists(KubeError):
    """409 on a create: an object of that name is there."""


class Conflict(KubeError):
    """409 on an update, or a failed `test` of a JSON patch: the object is not as the caller saw it.

    Nothing was changed.
    """


class Forbidden(KubeError):
    """403: the identity may not do that, or an admission plugin said no. Nothing was changed."""


class Invalid(KubeError):
    """400 or 422: the API server will not take this body. Nothing was changed."""


class Expired(KubeError):
    """410: a list or watch has to begin anew."""


class Unavailable(KubeError):
    """No usable answer: the connection broke, time ran out, or 5xx. A write may or may not have been done."""


class NotDone(Unavailable):
    """429, 401 or no connection at all: the call certainly changed nothing; it is worth trying again.

    401 says nothing of rights: the operator's own token has just run out, or the server cannot check it yet.
    `retry_after` is the pause that the API server asked for, in seconds.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
