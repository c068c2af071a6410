"""What a Prometheus' answer says, and what that means: no network, no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from rollback_operator.api.trigger import MinSamples
from rollback_operator.core.verdicts import Sample, Threshold, Verdict
from rollback_operator.signals.base import Question, missing
from rollback_operator.signals.outbound import Answer
from rollback_operator.untrusted import MalformedError, TooLargeError, json_in

MOST_VALUES = 1_500_000
"""Values of an answer; one of empty objects takes thirty times its length in memory."""
LONGEST_WORDS = 300
LONGEST_LABELS = 200

Series = tuple[Mapping[str, str], float]
Vector = Sequence[Series]


class Why(Enum):
    """Why there is no vector, as far as it matters."""

    MISSING = "no data, or nobody answered: noData says what that means"
    DOUBTFUL = "the server itself doubts its answer"
    MISTAKE = "the question is wrong"


@dataclass(frozen=True, slots=True)
class Nothing:
    """No vector; `said` is a sentence for it."""

    why: Why
    said: str


def document(answer: Answer, server: str) -> Mapping[str, Any] | Nothing:
    """The `data` of an answer; `server` is its address, for sentences."""
    too_large = Nothing(Why.MISSING, f"{server} gave too large an answer: aggregate more, so that fewer series come")
    if not answer.whole:
        return too_large
    try:
        said = json_in(answer.body, MOST_VALUES)
    except TooLargeError:
        return too_large
    except MalformedError:
        said = None
    if not isinstance(said, dict):
        said = {}
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        return _refusal(answer.status, said, server)
    data = said.get("data")
    if said.get("status") != "success" or not isinstance(data, dict):
        return Nothing(Why.MISSING, f"{server} does not answer as Prometheus does: check the address and its path")
    doubts = _doubts(answer.status, said)
    return Nothing(Why.DOUBTFUL, f"{server} {doubts}") if doubts else data


def _refusal(status: int, said: Mapping[str, Any], server: str) -> Nothing:
    words = _words(said.get("error")) if said.get("status") == "error" else ""
    if status == HTTPStatus.BAD_REQUEST and said.get("errorType") == "bad_data":
        return Nothing(Why.MISTAKE, f"{server} does not take the query: {words}")
    redirected = ", a redirect, which is not followed: correct the address"
    advice = redirected if status < HTTPStatus.BAD_REQUEST else _ADVICE.get(status, "")
    return Nothing(Why.MISSING, f"{server} answered {status}{advice}{words and f' ({words})'}")


_ADVICE: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: ": check what secretRef holds",
    HTTPStatus.FORBIDDEN: ": what is shown to it does not allow this query",
    HTTPStatus.NOT_FOUND: ": check the address and its path",
}


def _doubts(status: int, said: Mapping[str, Any]) -> str:
    """Why an answer may be incomplete; empty if it is not."""
    # Some versions send notes on how a query is written among the warnings.
    warnings = [text for text in said.get("warnings") or () if not str(text).startswith("PromQL info:")]
    if warnings:
        return f"warns: {_words(warnings[0])}"
    if status == HTTPStatus.PARTIAL_CONTENT or said.get("isPartial"):
        return "says that its answer is incomplete"
    return ""


def _words(text: object) -> str:
    """A server's words, fit for a message."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in str(text or "")).split())
    return shown if len(shown) <= LONGEST_WORDS else shown[: LONGEST_WORDS - 1] + "…"


def vector(data: Mapping[str, Any] | Nothing) -> Vector | Nothing:
    """The series of an instant query; a scalar is one without labels."""
    if isinstance(data, Nothing):
        return data
    kind, result = data.get("resultType"), data.get("result")
    try:
        if kind == "scalar":
            return (({}, float(result[1])),)  # type: ignore[index]
        if kind == "vector":
            return tuple((one["metric"], float(one["value"][1])) for one in result)  # type: ignore[union-attr]
    except (LookupError, TypeError, ValueError):
        return Nothing(Why.MISTAKE, "the query gives values that are no numbers, such as histograms")
    return Nothing(Why.MISTAKE, f"the query gives a {_words(kind)}; write one that gives a scalar or a vector")


def steps(data: Mapping[str, Any], start: float, step: float, count: int) -> list[Vector] | None:
    """The series at each of `count` moments, `step` seconds apart; None if the answer makes no sense."""
    found: list[list[Series]] = [[] for _ in range(count)]
    try:
        for one in data["result"]:
            labels = one["metric"]
            for at, value in one.get("values") or ():
                index = round((at - start) / step)
                if 0 <= index < count:
                    found[index].append((labels, float(value)))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return list(found)


def answered(question: Question, at: float, main: Vector | Nothing, guard: Vector | Nothing | None = None) -> Sample:
    """The sample that the answers to a trigger's query and to its minSamples amount to.

    Too little to judge by is Unknown, whatever `noData` says: a quiet hour is no missing answer.
    """
    if isinstance(main, Nothing) and main.why is not Why.MISSING:
        return Sample(at, Verdict.UNKNOWN, "", main.said)
    if isinstance(guard, Nothing) and not (isinstance(main, Nothing) and guard.why is Why.MISSING):
        return Sample(at, Verdict.UNKNOWN, "", f"minSamples: {guard.said}")
    limit = question.trigger.min_samples
    if limit and guard is not None and not isinstance(guard, Nothing):
        too_few = _too_few(limit, guard)
        if too_few:
            return Sample(at, Verdict.UNKNOWN, "", too_few)
    if isinstance(main, Nothing):
        return missing(question, at, main.said)
    return _judged(question, at, main)


def _too_few(limit: MinSamples, counted: Vector) -> str | None:
    """Why there is too little to judge by; of several series the smallest counts."""
    if not counted:
        return f"minSamples gives nothing, at least {limit.at_least} are asked for"
    least = min((value if math.isfinite(value) else -math.inf) for _, value in counted)
    if least >= limit.at_least:
        return None
    number = f"{least:.6g}" if math.isfinite(least) else "no number"
    which = f", in the smallest of {len(counted)} series" if len(counted) > 1 else ""
    return f"minSamples gives {number}{which}, at least {limit.at_least} are asked for"


def _judged(question: Question, at: float, series: Vector) -> Sample:
    """Any: the worst series decides; All: the best one. What is no number could have decided otherwise."""
    try:
        threshold = _threshold(question.trigger.when or "")
    except ValueError as error:
        return Sample(at, Verdict.UNKNOWN, "", f"when: {error}")
    numbers = [one for one in series if math.isfinite(one[1])]
    if not numbers:
        return missing(question, at, "the query gives no number (NaN or Inf)" if series else "the query gives nothing")
    all_ = question.trigger.series == "All"
    labels, value = (min if all_ else max)(numbers, key=lambda one: _badness(threshold, one[1]))
    bad = threshold.breached_by(value)
    if bad is all_ and len(numbers) < len(series):
        return missing(
            question, at, f"{len(series) - len(numbers)} of {len(series)} series give no number (NaN or Inf)"
        )
    shown = threshold.show(value)
    verdict, is_ = (Verdict.BREACH, "") if bad else (Verdict.HEALTHY, "is not ")
    which = (
        f" at {_shown(labels)}, the {'best' if all_ else 'worst'} of {len(series)} series" if len(series) > 1 else ""
    )
    return Sample(at, verdict, shown, f"{shown} {is_}{threshold}{which}")


_threshold = lru_cache(maxsize=4096)(Threshold.parse)


def _badness(threshold: Threshold, value: float) -> float:
    """The larger, the worse: if any value breaches, then the one for which this is largest."""
    if threshold.sign in {"<", "<="}:
        return -value
    if threshold.sign in {">", ">="}:
        return value
    return abs(value - threshold.bound) * (1 if threshold.sign == "!=" else -1)


def _shown(labels: Mapping[str, str]) -> str:
    text = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return "{" + (text if len(text) <= LONGEST_LABELS else text[: LONGEST_LABELS - 1] + "…") + "}"
