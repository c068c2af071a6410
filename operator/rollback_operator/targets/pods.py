"""What pods say about themselves."""

from __future__ import annotations

from typing import Any

from rollback_operator.core.values import Health, Wellbeing

FAILING = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons for which a container waits and that do not pass by waiting."""
MOST = 5

Object = dict[str, Any]


def judge(rollout: Health, pods: list[Object], unbound: tuple[str, ...]) -> Health:
    """A rollout's health with the reasons of its pods: a pod that waits for no good makes it failing."""
    failing = [line for pod in pods for line in _failing(pod)]
    if failing:
        return Health(Wellbeing.FAILING, _joined(rollout, failing))
    if unbound:
        return Health(Wellbeing.PROGRESSING, _joined(rollout, list(unbound)))
    if rollout.state is Wellbeing.PROGRESSING:
        return Health(Wellbeing.PROGRESSING, _joined(rollout, [line for pod in pods for line in _unscheduled(pod)]))
    return rollout


def _joined(rollout: Health, lines: list[str]) -> str:
    parts = [rollout.message] if rollout.state is not Wellbeing.HEALTHY else []
    more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return "; ".join([*parts, *lines[:MOST], *more])


def _failing(pod: Object) -> list[str]:
    if pod["metadata"].get("deletionTimestamp"):
        return []
    status = pod.get("status") or {}
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    name = pod["metadata"]["name"]
    return [f"pod {name}, container {state['name']}: {why}" for state in states if (why := _why(state))]


def _why(state: Object) -> str | None:
    """Why a container fails, with how it ended last; never its own words, which may hold a secret.

    One that crashes again and again is between two crashes for a moment each time: not ready, and not waiting.
    """
    now = state.get("state") or {}
    reason = (now.get("waiting") or {}).get("reason")
    last = now.get("terminated") or (state.get("lastState") or {}).get("terminated") or {}
    crashed = not state.get("ready") and last.get("exitCode", 0) != 0
    if reason not in FAILING and not crashed:
        return None
    reason = reason if reason in FAILING else "crashed"
    if not last:
        return f"{reason} (image {state.get('image')})" if "mage" in reason else str(reason)
    ended = last.get("reason") or "ended"
    return f"{reason} ({ended}, exit code {last.get('exitCode')}, restarted {state.get('restartCount', 0)} times)"


def _unscheduled(pod: Object) -> list[str]:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return [f"pod {pod['metadata']['name']} is not scheduled: {condition.get('message', 'no node fits')}"]
    return []
