"""What decisions are made from, and what they are: plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from rollback_operator.api.common import TargetRef
from rollback_operator.api.hold import HoldOrders
from rollback_operator.api.options import Options
from rollback_operator.api.owner import OwnerRule
from rollback_operator.api.policy import Entry, PolicySpec
from rollback_operator.api.reasons import Reason
from rollback_operator.api.request import KeptCopy, Phase, Plan, RequestSpec, RequestStatus, Restoration
from rollback_operator.core.owners import Lineage, Owner
from rollback_operator.core.verdicts import Streak


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of a target that can be gone back to.

    `order` grows with each release; `name` is the number that kubectl, Helm or Argo CD shows for it. `tags` are
    its images that are not pinned by digest: what they mean can change under the same fingerprint. `created`: when it
    was first released, to the second; a return to it does not move that.
    """

    name: str
    order: int
    fingerprint: str
    source: str = ""
    tags: tuple[str, ...] = ()
    created: datetime | None = None
    aliases: tuple[str, ...] = ()
    """Git revisions that it stands for: their first digits name it, too."""
    config: str = ""
    """Digest of the remembered configuration that belongs to it; empty if none is known."""
    turn: int = 0
    """Of the same number with several configurations: the later, the higher."""

    @property
    def rank(self) -> tuple[int, int]:
        """How late it is."""
        return self.order, self.turn


class Wellbeing(Enum):
    """How a target does, after a change."""

    HEALTHY = auto()
    PROGRESSING = auto()
    FAILING = auto()


@dataclass(frozen=True, slots=True)
class Health:
    """How a target does, with a sentence that names the pods' own reasons."""

    state: Wellbeing
    message: str
    final: bool = False
    """It will not get any better by waiting."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a target cannot be rolled back as it is now."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ends: a final phase, why, and a sentence that tells the reader what to do."""

    phase: Phase
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class HeldUp:
    """What a target whose template is as it should be waits for in vain: pods of another revision."""

    by: Revision
    """The revision of these pods; of several the newest."""
    pods: str
    """Their names, each with its revision."""
    left_to_people: bool = False
    """The options say that nobody else is to delete them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A target as one reading shows it.

    `generation` grows with every change of what the target asks for, so that an older reading is recognised.
    `settled`: the target's own controller has seen the latest change, so that revision numbers can be trusted.
    `marks`: uids of the requests whose effect the target shows. `unfinished`: something is left to be done after the
    effect (fields that it changed are still recorded as the operator's own, say). `raw` is the target module's own
    business.

    `changed`: when the target changed to its current revision; None if this reading cannot tell, and whoever remembers
    earlier readings fills in the time of first sight, with `changed_estimated`. `reactivated`: the current revision is
    a return to an earlier one, as its own record; the same content released anew is none.
    """

    uid: str
    generation: int
    current: Revision
    history: tuple[Revision, ...]
    settled: bool
    health: Health
    obstacle: Obstacle | None = None
    marks: frozenset[str] = frozenset()
    unfinished: bool = False
    whole: Revision | None = None
    """What is current in parts only by now: an attempt broke off over it, and its request is gone."""
    freeing: bool = False
    """What is unfinished touches pods: a request that ends does not do it any more."""
    obstructed: bool = False
    """Pods are in the way of the rollout, and go once nothing else is left to be done."""
    owners: tuple[Owner, ...] = ()
    """Who else manages it, the nearest first."""
    raw: Any = field(default=None, compare=False, repr=False)
    changed: datetime | None = None
    changed_estimated: bool = False
    reactivated: bool = False
    arriving: datetime | None = None
    """Until then, its release may be on its way: nothing but its configuration has changed yet."""

    def owners_of(self, argo_cd: str) -> tuple[Owner, ...]:
        """The owners, those in Argo CD's own namespace with its name."""
        return tuple(replace(one, namespace=one.namespace or argo_cd) for one in self.owners)

    waits_for: str = ""
    """Why it is not settled, if not for its controller to number the revision: a clause about the target."""
    under_way: bool = False
    """The effect is still being carried out by others, and can be called off."""
    being_made: frozenset[str] = frozenset()
    """uids of requests whose effect somebody who is alive is making right now."""
    half_made: frozenset[str] = frozenset()
    """uids of requests whose effect was begun by somebody who is gone: it is to be made again, or given up."""
    left_out: str = ""
    """What the effect did without, although it was asked for, as a sentence."""
    held_up: HeldUp | None = None
    """Pods of another revision keep it from rolling out what it asks for; seen only before an effect."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Revisions that are on record and cannot be gone back to, with a clause that says why."""
    only_proved: bool = False
    """That a revision is on record says nothing of it: what proved good and is gone has no stand-in."""
    keeps: str = "Older ones are removed by its revisionHistoryLimit."
    """How long revisions are kept, for people who miss one."""
    named: Callable[[str], Revision | None] = field(default=lambda _: None, compare=False, repr=False)
    """The revision that a name means which is in no history; None if it means none."""


@dataclass(frozen=True, slots=True)
class Other:
    """Another request for the same target, as far as whose turn it is and what it rolled back from are concerned."""

    uid: str
    name: str
    created: datetime
    phase: Phase | None
    dry_run: bool = False
    applied: bool = False
    left: str | None = None
    """Fingerprint that the request's plan goes away from."""
    finished: datetime | None = None
    left_name: str = ""
    to: str | None = None
    """Fingerprint that the request's plan brings back."""
    to_name: str = ""
    reason: str = ""
    message: str = ""
    """Why it is in its phase."""
    policy_uid: str | None = None
    """The policy that made it."""
    by_policy: bool = False
    """It names a policy, whoever made it."""
    graced: bool = False
    """It still waits for people: nobody has to wait for it."""
    withdrawn: bool = False
    """Its policy took it back, because nothing was wrong any more: that was no veto."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at a chosen revision brought: what would be done, and what it needs that is gone."""

    steps: tuple[str, ...]
    diff: str
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    """The objects that go back with the target, where it is more than one."""
    copy: KeptCopy | None = None
    """The copy that will be kept of what is replaced."""
    obstacle: Obstacle | None = None
    """Why the target must not go there."""
    warning: str = ""
    """Why it may soon not be able to, as a sentence."""
    configuration: Restoration | None = None
    """The configuration that goes back with the target."""


@dataclass(frozen=True, slots=True)
class Unkept:
    """The copy that the plan names could not be made, and the rollback may go on without it."""

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An action was refused for good: nothing was changed by it, and trying again would not help."""

    reason: Reason
    message: str
    plan: Plan | None = None
    """The plan that was rehearsed, when it was a rehearsal that was refused."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The API server would have accepted the effect of the plan."""

    plan: Plan


Answer = Findings | Refused | Rehearsed | Unkept


@dataclass(frozen=True, slots=True)
class Beside:
    """How far the configuration is that a plan puts back beside its target: objects, as people name them.

    `put_back`: by this request. `due`: as the plan saw them. `changed`: by somebody else since, perhaps after they were
    put back. `held`: fields of some are recorded as the operator's own.
    """

    put_back: tuple[str, ...] = ()
    due: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    held: bool = False

    def knowing(self, put_back: tuple[str, ...]) -> Beside:
        """With what is known to have been put back, although an old reading, or who deleted it since, hides that."""
        known = tuple(dict.fromkeys((*put_back, *self.put_back)))
        return replace(self, put_back=known, due=tuple(one for one in self.due if one not in known))


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything outside the request that a decision may depend on.

    `answered`: all attempts at the effect up to this number are known to be over, because they were answered.
    `since`: when the look at the target began (None: this moment); what came later may not be seen yet.
    `kept`: how often finishing was tried, and something is still left.
    """

    policy: PolicySpec | None = None
    target: Snapshot | None = None
    others: tuple[Other, ...] = ()
    answer: Answer | None = None
    answered: int = 0
    default_service_account: str = "rollback"
    since: datetime | None = None
    kept: int = 0
    stopped: int = 0
    """How often the effect was called off, and still is under way."""
    unseen: bool = False
    """The target may not be looked at any more; `answer` says why."""
    entries: tuple[Entry, ...] = ()
    """The policy's ledger."""
    streaks: Mapping[str, Streak] = field(default_factory=dict)
    """What the policy's triggers say, as far as this process asks them."""
    lineage: Lineage | None = None
    """The target's owners as they were read; None while nobody asked for them."""
    released: str | None = None
    """What came of ending the suspensions of a request without an effect: empty if all is well; None: not tried."""
    argo_cd: str = "argocd"
    """Argo CD's own namespace."""
    beside: Beside = field(default_factory=Beside)


@dataclass(frozen=True, slots=True)
class Request:
    """A RollbackRequest as it was read."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    spec: RequestSpec
    status: RequestStatus


@dataclass(frozen=True, slots=True)
class Examine:
    """Look at what going to a revision means and needs."""

    to: Revision


@dataclass(frozen=True, slots=True)
class Rehearse:
    """Ask the API server whether it would accept the effect."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Apply:
    """Make the effect, keyed by the request's uid, on the target exactly as the plan saw it."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Finish:
    """Do what is left to be done after the effect."""

    plan: Plan
    freeing: bool = False
    """Only deal with the pods that are in the way: the rest was tried, and was refused."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Call the effect off, as far as others are still carrying it out."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Trace:
    """Read these owners of the target."""

    owners: tuple[Owner, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """End the suspensions that were made for an effect which will not be made."""

    plan: Plan


Question = Examine | Rehearse | Trace | Release
"""What is done at once, and decided on anew: nothing that the target itself would show."""
Action = Question | Apply | Finish | Stop


@dataclass(frozen=True, slots=True)
class Decision:
    """The status to write (first), the action to take (then), and when to look again if nothing happens."""

    status: RequestStatus
    action: Action | None = None
    again: timedelta | None = None


def resolved_target(spec: RequestSpec, policy: PolicySpec | None) -> TargetRef | None:
    """What a request is about: its own target, or its policy's; None while the policy is unknown."""
    if spec.target is not None:
        return spec.target
    return policy.target if policy is not None else None


def resolved_account(spec: RequestSpec, policy: PolicySpec | None, default: str) -> str:
    """Name of the service account that a request runs as: its own, else its policy's, else the operator's setting."""
    from_policy = policy.service_account_name if policy is not None else None
    return spec.service_account_name or from_policy or default


def resolved_hold(spec: RequestSpec, policy: PolicySpec | None) -> HoldOrders | None:
    """How long the target is held afterwards: as the request says, else as its policy does."""
    return spec.hold or (policy.hold if policy is not None else None)


def resolved_options(spec: RequestSpec, policy: PolicySpec | None) -> Options | None:
    """How a request is to be carried out: as it says, else as its policy does."""
    return spec.options or (policy.options if policy is not None else None)


def resolved_owner_rule(spec: RequestSpec, policy: PolicySpec | None) -> OwnerRule:
    """What is done about a target that something else manages: as the request says, else as its policy does."""
    return spec.owner or (policy.owner if policy is not None else OwnerRule.REFUSE)


def current_target(request: Request, policy: PolicySpec | None) -> TargetRef | None:
    """What a request is about now: once it was taken up its status says so, whatever becomes of the policy."""
    if request.status.targets:
        return TargetRef.of(request.status.targets[0].target)
    return resolved_target(request.spec, policy)
