"""What must hold, each as a sentence that is told when it does not."""

from __future__ import annotations

from rollback_operator.api.fields import parse_duration
from tests.model.policies import values
from tests.model.policies.shell import DEFECT, Asked, Over, Start
from tests.model.policies.values import NEXT_GOOD, ON_RETURN, Req
from tests.model.policies.world import Blamed, Case, World

TWO_AT_ONCE = "two requests of the policy are unfinished at once"
AGAIN = "a request of a name that was there, and was deleted, is made once more"
TOO_OFTEN = "more requests were made for one revision than the breaker's limit and one"
AFTER_AN_EFFECT = "a request is made for a revision that another one rolled back from"
NOT_FIRED = "a request is made although no trigger was bad for long enough"
NOT_ENFORCED = "a request is made although the policy does not enforce"
OF_A_ROLLBACK = "a rollback is rolled back by itself"
VETOED = "a request is made although people stopped one for the same revision"
TO_BAD = "it went back to a release that is known to be bad"
BREAKER = "more rollbacks were made within the window than the breaker allows"
ANOTHER = "it rolled back from another release than the one it was made for"
RESTLESS = "nothing changes, and something is written"
SILENT = "it is bad for good, nothing goes on, and no alert stands"
FORGOTTEN = "a release that was rolled back from is back, and counts as an earlier one"
GAVE_UP = "what could be tried again was not"
KEPT = "it is well, and a request that waits for people was not taken back"
FOREVER = "rounds do not come to an end"


def limit_of(case: Case) -> int:
    """The breaker's limit."""
    return values.policy_spec(case.spec, case.mode).breaker.limit


def of_decision(case: Case, world: World, start: Start, asked: Asked) -> str | None:
    """A request is about to be made, after what was read in `start`."""
    target = start.view.target
    assert target is not None
    if world.policy.mode != "Enforce":
        return NOT_ENFORCED
    if (target.uid, target.number) in world.vetoed:
        return VETOED
    if asked.name not in {one.name for one in world.requests} and any(name == asked.name for name, _ in world.made):
        return AGAIN
    returned = case.spec == ON_RETURN and target.letter in world.bad
    if asked.to is not None:
        return None if case.spec == NEXT_GOOD else OF_A_ROLLBACK
    if target.back and target.letter not in world.bad:
        return OF_A_ROLLBACK
    return None if returned or _fired(world, start) else NOT_FIRED


def _fired(world: World, start: Start) -> bool:
    """Whether the signal was bad twice, and never well between or since, while that revision stood."""
    assert start.view.target is not None
    said = "".join(one for one, at in world.truth if at <= start.view.target.since)
    return said.rpartition("H")[2].count("B") > 1


def of_creation(case: Case, world: World, one: Req) -> str | None:
    """A request is just being made in `world`."""
    if any(not it.ended for it in world.requests):
        return TWO_AT_ONCE
    if any(it.why == one.why and it.left is not None for it in (*world.requests, *world.cleared)):
        return AFTER_AN_EFFECT
    taken_back = {it.name for it in world.requests if it.withdrawn}
    tries = sum(why == one.why and name not in taken_back for name, why in world.made)
    return TOO_OFTEN if tries > limit_of(case) else None


def of_effect(case: Case, world: World, one: Req) -> str | None:
    """`one` has just had its effect; `world` is how it was before."""
    assert one.to is not None
    assert world.target is not None
    ledger = {it.letter for it in world.policy.status.ledger if it.verdict == "Bad"}
    left = {it.left[0] for it in world.requests if it.applied and it.left}
    if one.to[0] in ledger | left:
        return TO_BAD
    if one.seen != world.target.letter:
        return ANOTHER
    return BREAKER if _breaker_broken(case, world, one) else None


def _breaker_broken(case: Case, world: World, one: Req) -> bool:
    spec = values.policy_spec(case.spec, case.mode)
    window = values.age(values.NOW - parse_duration(spec.breaker.window))
    made = [it for it in (*world.requests, *world.cleared, one) if it.left is not None and it.created < window]
    good = [it for it in world.policy.status.ledger if it.verdict == "Good"]
    counted = [it for it in made if not any(_proved_after(it, entry) for entry in good)]
    return len(counted) > spec.breaker.limit


def _proved_after(it: Req, entry: values.Entry) -> bool:
    assert it.to is not None
    end = it.created if it.finished is None else it.finished
    return entry.at < end and entry.letter != it.to[0]


def of_round(over: Over) -> str | None:
    """A round is over."""
    return over.error if over.error and over.error.startswith(DEFECT) else None


def blamed(world: World) -> Blamed | None:
    """What stands."""
    return (world.target.uid, world.target.number) if world.target is not None else None


def of_rest(case: Case, world: World) -> str | None:
    """Everybody answered for long, and it was bad all the time."""
    policy = world.policy
    if policy.mode == "Suspend" or world.target is None:
        return None
    alert = policy.status.alert
    if alert in (None, "RollingBack", "RolledBack", "NothingWrong"):
        return SILENT
    why = blamed(world)
    assert why is not None
    tries = [it for it in world.requests if it.why == why]
    left = {it.left[0] for it in world.requests if it.applied and it.left is not None}
    if alert == "EarlierRevision" and world.target.letter in left:
        return FORGOTTEN
    unwell = any(it.reason == "Unhealthy" and it.to and it.to[0] == world.target.letter for it in world.requests)
    gave_up = alert in ("CouldNotRollBack", "Vetoed") and not unwell and why not in world.vetoed
    made = sum(what == why for _, what in world.made)
    could = gave_up and len(tries) == made < limit_of(case) + 1 and all(it.reason == "Forbidden" for it in tries)
    return GAVE_UP if could else None
