"""Requests that a target should answer well. What a failure means is decision 6."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus

from yarl import URL

from rollback_operator.api.fields import format_duration, parse_duration
from rollback_operator.api.trigger import HttpCheck
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.signals.base import Question, missing
from rollback_operator.signals.fence import NotAllowed
from rollback_operator.signals.outbound import Answer, NoAnswer, Outbound, shown

LARGEST = 64 * 1024
LONGEST = 60.0
"""Seconds that an answer is waited for at the most; whoever asks for more gets Unknown after them."""

_BAD = {"refused", "timeout", "broken"}
"""Kinds of NoAnswer that the host itself brought about."""


class HttpSignal:
    """Makes the request, each time on a connection of its own.

    Args:
        outbound: how it is made; whoever made it closes it.
    """

    source = "http"

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def sample(self, question: Question, now: float) -> Sample:
        """The answer of this moment."""
        check = question.trigger.http
        assert check is not None
        if check.contains is not None and check.method == "HEAD":
            return Sample(
                now, Verdict.UNKNOWN, "", "an answer to HEAD contains nothing: use GET, or leave contains out"
            )
        try:
            answer = await self._outbound.get(
                check.url,
                method=check.method,
                within=min(_patience(check), LONGEST),
                limit=LARGEST,
                fresh=True,
                whose=question.namespace,
            )
        except NotAllowed as error:
            return missing(question, now, str(error))
        except NoAnswer as error:
            if error.kind not in _BAD or (error.kind == "timeout" and _patience(check) > LONGEST):
                return missing(question, now, str(error))
            return Sample(now, Verdict.BREACH, "", str(error))
        wrong = _wrong(check, answer)
        took = f"{answer.status} in {format_duration(timedelta(seconds=answer.seconds))}"
        return Sample(now, Verdict.BREACH if wrong else Verdict.HEALTHY, took, wrong)

    async def history(self, question: Question, start: float, end: float) -> Sequence[Sample]:
        """None: nobody knows how it would have answered."""
        del question, start, end
        return ()

    async def check(self, question: Question) -> str | None:
        """What is wrong with the question; None if nothing is."""
        check = question.trigger.http
        if check is not None and check.contains is not None and check.method == "HEAD":
            return "an answer to HEAD contains nothing: use GET, or leave contains out"
        return None

    async def close(self) -> None:
        """Nothing to close."""


def _patience(check: HttpCheck) -> float:
    """Seconds after which an answer is bad: there is no use in waiting longer than `slowerThan`."""
    limits = [check.timeout] if check.slower_than is None else [check.timeout, check.slower_than]
    return min(parse_duration(limit).total_seconds() for limit in limits)


def _wrong(check: HttpCheck, answer: Answer) -> str:
    """What about an answer is not as asked; empty if nothing is. The answer itself is not repeated."""
    well = answer.status in check.status if check.status else HTTPStatus.OK <= answer.status < HTTPStatus.BAD_REQUEST
    if not well:
        asked = ", ".join(map(str, check.status)) or "200 to 399"
        return f"{shown(check.method, URL(check.url))}: answered {answer.status}, not {asked}"
    if check.contains is not None and check.contains.encode() not in answer.body:
        return f"{shown(check.method, URL(check.url))}: {check.contains!r} is not in the first 64 KiB of the answer"
    return ""
