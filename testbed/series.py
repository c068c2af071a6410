"""Samples made up for tests, in the two forms that Prometheus takes them in: before its start, and while it runs."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Series:
    """One series and what it was when."""

    name: str
    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]
    """Seconds since the epoch, and the value then; oldest first."""

    @classmethod
    def over(
        cls,
        name: str,
        labels: Mapping[str, str],
        value: Callable[[float], float],
        *,
        start: float,
        end: float,
        step: float = 15,
    ) -> Self:
        """A sample every `step` seconds from `start` to before `end`, of what `value` gives for its time."""
        count = max(0, -int(-(end - start) // step))
        times = [start + number * step for number in range(count)]
        return cls(name, labels, [(time, value(time)) for time in times])


def selector(name: str, labels: Mapping[str, str]) -> str:
    """The series as the text formats and PromQL write it."""
    inside = ",".join(f"{key}={_quoted(labels[key])}" for key in sorted(labels))
    return f"{name}{{{inside}}}"


def openmetrics(series: Iterable[Series]) -> str:
    """A document of the OpenMetrics text format; what has one name has to stand together in it."""
    lines = [
        f"{selector(one.name, one.labels)} {value!r} {time:.3f}"
        for one in sorted(series, key=lambda one: one.name)
        for time, value in one.samples
    ]
    return "\n".join([*lines, "# EOF", ""])


def otlp(series: Iterable[Series]) -> bytes:
    """A request of the OpenTelemetry protocol: the one way to push that is plain JSON, without protobuf and snappy."""
    metrics = [{"name": one.name, "gauge": {"dataPoints": _points(one)}} for one in series]
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()


def _points(series: Series) -> list[dict[str, Any]]:
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in series.labels.items()]
    return [
        {"timeUnixNano": str(round(time * 1000) * 10**6), "asDouble": _number(value), "attributes": attributes}
        for time, value in series.samples
    ]


def _number(value: float) -> float | str:
    """As protobuf writes it in JSON, which itself has no word for what is not finite."""
    return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
