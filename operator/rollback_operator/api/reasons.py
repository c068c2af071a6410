"""Reasons of conditions and Events: every one that a user can meet, in one place."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an object is in the state it is in, as it stands in a condition's `reason`."""

    # A request on its way.
    QUEUED = "Queued"
    AWAITING_APPROVAL = "AwaitingApproval"
    WAITING_FOR_POLICY = "WaitingForPolicy"
    WAITING_FOR_CONTROLLER = "WaitingForController"
    PLANNED = "Planned"
    APPLYING = "Applying"
    SETTLING = "Settling"
    APPLIED = "Applied"
    ROLLING_OUT = "RollingOut"
    PODS_FAILING = "PodsFailing"
    NOT_YET_WELL = "NotYetWell"
    GOING_BY_OWNER = "GoingByOwner"
    WAITING_FOR_OWNER = "WaitingForOwner"
    WAVE_RUNNING = "WaveRunning"

    # Succeeded.
    COMPLETED = "Completed"
    DRY_RUN = "DryRun"
    ALREADY_AT_REVISION = "AlreadyAtRevision"

    # Superseded: no effect was made.
    NEWER_RELEASE = "NewerRelease"
    TARGET_RECREATED = "TargetRecreated"
    ALREADY_ROLLED_BACK = "AlreadyRolledBack"
    POLICY_CHANGED = "PolicyChanged"

    # Failed.
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_PAUSED = "TargetPaused"
    REVISION_NOT_FOUND = "RevisionNotFound"
    NOTHING_TO_ROLL_BACK_TO = "NothingToRollBackTo"
    MISSING_DEPENDENCY = "MissingDependency"
    POLICY_NOT_FOUND = "PolicyNotFound"
    OWNED_BY = "OwnedBy"
    UNREADABLE_RECORD = "UnreadableRecord"
    RELEASED_ELSEWHERE = "ReleasedElsewhere"
    WOULD_DELETE_CRD = "WouldDeleteCRD"
    FORBIDDEN = "Forbidden"
    REJECTED = "Rejected"
    UNHEALTHY = "Unhealthy"
    HALF_APPLIED = "HalfApplied"
    NOT_VERIFIED = "NotVerified"
    TIMEOUT = "Timeout"
    REVERTED = "Reverted"
    OVERTAKEN = "Overtaken"
    WAVE_FAILED = "WaveFailed"
    PARTLY_MADE = "PartlyMade"

    # Aborted, before or after the effect.
    ABORTED = "Aborted"

    # A hold.
    HOLDING = "Holding"
    HELD_FOR_LONG = "HeldForLong"
    CANNOT_COMPARE = "CannotCompare"
    TARGET_CHANGED = "TargetChanged"
    RELEASED_BY_HAND = "ReleasedByHand"
    AUTOMATION_TURNED_ON = "AutomationTurnedOn"
    NOT_HELD = "NotHeld"

    # A policy: Ready.
    ACCEPTED = "Accepted"
    EVALUATING = "Evaluating"
    SUSPENDED = "Suspended"
    TARGET_TAKEN = "TargetTaken"
    INVALID_TRIGGER = "InvalidTrigger"

    # A policy: Armed; other reasons are those that a request would fail with.
    ARMED = "Armed"
    ARMED_FOR_NOW = "ArmedForNow"
    MAY_NOT_ROLL_BACK = "MayNotRollBack"
    NOT_REMEMBERED = "NotRemembered"

    # A policy: Alert.
    NOTHING_WRONG = "NothingWrong"
    FIRING = "Firing"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    WOULD_ROLL_BACK = "WouldRollBack"
    NO_RECENT_CHANGE = "NoRecentChange"
    RELEASE_UNDER_WAY = "ReleaseUnderWay"
    EARLIER_REVISION = "EarlierRevision"
    BAD_RELEASE_RETURNED = "BadReleaseReturned"
    BREAKER_OPEN = "BreakerOpen"
    AUTOMATIC_ROLLBACKS_OFF = "AutomaticRollbacksOff"
    MANY_AT_ONCE = "ManyAtOnce"
    COULD_NOT_ROLL_BACK = "CouldNotRollBack"
    VETOED = "Vetoed"
    NOT_TAKEN_BACK = "NotTakenBack"


FAILURES = (
    Reason.TARGET_NOT_FOUND,
    Reason.TARGET_PAUSED,
    Reason.REVISION_NOT_FOUND,
    Reason.NOTHING_TO_ROLL_BACK_TO,
    Reason.MISSING_DEPENDENCY,
    Reason.POLICY_NOT_FOUND,
    Reason.OWNED_BY,
    Reason.UNREADABLE_RECORD,
    Reason.RELEASED_ELSEWHERE,
    Reason.WOULD_DELETE_CRD,
    Reason.FORBIDDEN,
    Reason.REJECTED,
    Reason.UNHEALTHY,
    Reason.HALF_APPLIED,
    Reason.NOT_VERIFIED,
    Reason.TIMEOUT,
    Reason.REVERTED,
    Reason.OVERTAKEN,
    Reason.WAVE_FAILED,
    Reason.PARTLY_MADE,
)
"""What a request can fail with."""
