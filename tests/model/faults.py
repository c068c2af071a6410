"""Everything that can go wrong; `test_counterparts` holds it against the real shell."""

from __future__ import annotations

from tests.model.shell import ERRORS, FREE, GIVE_BACK, KEEP, PUT

# How calls fail. A write whose outcome is unknown was done, was not done, or is done later.
UNKNOWN = "Unavailable"
UNCLEAR = ("done", "not done", "late")
REFUSALS = tuple(name for name in ERRORS if name not in (UNKNOWN, "KubeError"))
"""Answers after which nothing was changed."""
REHEARSAL = "rehearsal"
REFUSED = (("deployment", "Forbidden"), (REHEARSAL, "Forbidden"), (REHEARSAL, "Invalid"))
"""Reads and rehearsals that are refused. Others end a round in the same way, or without a trace: a test of its own."""

STALE = {
    "an old reading of the target": (True, True),
    "the target read, then changed, then its ReplicaSets read": (True, False),
    "the target read, with an old list of its ReplicaSets": (False, True),
}
"""Which of both readings is from before the last change."""
SLOW_READING = "a slow reading of the target"
OLD_LIST = "an old list of the requests"
OLD_BODY = "an old version of the request from the watch"
CRASH = "crash"
SLOW = "the write is slow"

FAULTS = (
    *(f"read: {error}" for error in ERRORS),
    *(f"write: {error}" for error in REFUSALS),
    *(f"write without an answer: {outcome}" for outcome in UNCLEAR),
    *(f"{CRASH}: {outcome}" for outcome in UNCLEAR),
    *STALE,
    SLOW_READING,
    OLD_LIST,
    OLD_BODY,
    SLOW,
)

CALLS = {
    "get": "what a round reads, from its `Start`",
    "create": f"the copy of what is replaced: `{KEEP}`; whether it may be made (it may); Events hold nothing up; a "
    "policy's request is no request's business",
    "replace": f"a status write: `{PUT}`",
    "patch": f"an effect or `{GIVE_BACK}`; a rehearsal is a read",
    "metadata": "of Helm's records, which `kinds` has",
    "forward": "Helm's own calls, which `kinds` walks",
    "try_to_apply": "a dry run of what Helm would write",
    "delete": f"`{FREE}`: of a pod that a StatefulSet waits for; policies delete requests that have ended",
    "addresses": "asked once at the start, for what policies may not call",
    "close": "the end of a process: a crash",
}
"""Counterparts of what `kube.client.Api` can be asked."""
TARGET = {
    "told": "decides when a request is looked at; here it is looked at any time",
    "observe": "the real one, on the target of `Start`",
    "examine": "the real one, on the same",
    "backup": "the real one; what is in a copy makes no difference",
    "apply": "the real one; its patch is taken by `cluster.patched`",
    "finish": "the real one; its patch is taken by `cluster.patched`, its deletion by `cluster.deleted`",
    "version": "decides when a policy looks at its target",
    "rights": "asked by policies, before there is a request",
    "pods": "asked by policies' signals",
    "stuck": "asked by policies' signals",
}
"""Counterparts of what `targets.base.Target` can be asked."""
