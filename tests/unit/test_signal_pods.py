"""What a trigger hears of pods: restarts that are counted in time, reasons, readiness."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_operator.api.common import TargetRef
from rollback_operator.api.trigger import Trigger
from rollback_operator.core.verdicts import Sample, Verdict
from rollback_operator.kube import errors
from rollback_operator.signals import pods as module
from rollback_operator.signals.base import Checking, Object, Question, Signal
from rollback_operator.signals.pods import PodsSignal
from tests.unit.builders import CHECKOUT, NOW

AT = NOW.timestamp()
OLD = -86_400.0


class Pods:
    """Workloads with these pods."""

    def __init__(self, *pods: Object) -> None:
        self.now: Sequence[Object] = pods
        self.error: errors.KubeError | None = None
        self.asked: list[tuple[str, TargetRef, str]] = []

    async def pods(self, namespace: str, ref: TargetRef, service_account: str) -> Sequence[Object]:
        self.asked.append((namespace, ref, service_account))
        if self.error is not None:
            raise self.error
        return self.now

    async def stuck(self, namespace: str, ref: TargetRef, service_account: str) -> str | None:
        raise NotImplementedError


def time(seconds: float) -> str:
    return datetime.fromtimestamp(AT + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def running(restarts: int = 0, since: float | None = None, *, last: Object | None = None, name: str = "web") -> Object:
    """A container that runs since then."""
    started = {} if since is None else {"startedAt": time(since)}
    return {
        "name": name,
        "restartCount": restarts,
        "state": {"running": started},
        "lastState": {"terminated": last} if last else {},
    }


def ended(reason: str, finished: float, started: float | None = None) -> Object:
    start = {} if started is None else {"startedAt": time(started)}
    return {"reason": reason, "exitCode": 137, "message": "SECRET words", "finishedAt": time(finished), **start}


def waits(reason: str, restarts: int = 0, *, last: Object | None = None, name: str = "web") -> Object:
    return {
        "name": name,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": "SECRET words"}},
        "lastState": {"terminated": last} if last else {},
    }


def pod(
    name: str,
    *statuses: Object,
    made: float = OLD,
    ready: str | None = "True",
    initial: Sequence[Object] = (),
    deleted: bool = False,
    phase: str = "Running",
) -> Object:
    """A pod that was made so many seconds after `NOW`."""
    conditions = [{"type": "PodScheduled", "status": "True"}]
    if ready is not None:
        conditions.append({"type": "Ready", "status": ready})
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "creationTimestamp": time(made),
            **({"deletionTimestamp": time(0)} if deleted else {}),
        },
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": list(statuses),
            "initContainerStatuses": list(initial),
        },
    }


def question(no_data: str = "Unknown", policy: str = "checkout", **check: Any) -> Question:
    trigger = Trigger.model_validate({"name": "crash-loop", "pods": check, "noData": no_data})
    return Question("shop", policy, CHECKOUT, "rollback", trigger)


async def asked(*pods: Object, **check: Any) -> Sample:
    return await PodsSignal(Pods(*pods)).sample(question(**check), AT)


# What no answer is.


async def test_pods_that_cannot_be_read_are_no_answer() -> None:
    pods = Pods()
    pods.error = errors.Unavailable("GET /api: no answer" + "x" * 2000)
    sample = await PodsSignal(pods).sample(question(restarts="> 0"), AT)
    assert (sample.at, sample.verdict, sample.value) == (AT, Verdict.UNKNOWN, "")
    assert sample.message.startswith("the pods of Deployment/checkout could not be read: GET /api: no answer")
    assert len(sample.message) == 300
    assert pods.asked == [("shop", CHECKOUT, "rollback")]


NOBODY: dict[str, tuple[Object, ...]] = {
    "there are none": (),
    "all are being deleted": (pod("a", running(), deleted=True),),
    "all were evicted": (pod("a", running(), phase="Failed"), pod("b", running(), phase="Succeeded")),
}


@pytest.mark.parametrize("case", NOBODY)
async def test_there_is_no_answer_if(case: str) -> None:
    sample = await asked(*NOBODY[case], restarts="> 0", not_ready="> 0")
    assert sample == Sample(AT, Verdict.UNKNOWN, "", "no pods of the current revision")
    assert (await asked(*NOBODY[case], restarts="> 0", no_data="Breach")).verdict is Verdict.BREACH


@pytest.mark.parametrize("check", [{"restarts": "some"}, {"notReady": "< 2"}, {"restarts": "> 5", "within": "soon"}])
async def test_a_check_that_makes_no_sense_is_no_answer_whatever_no_data_says(check: Any) -> None:
    sample = await asked(pod("a", running()), no_data="Breach", **check)
    assert sample.verdict is Verdict.UNKNOWN
    assert "is no" in sample.message
    wrong = await PodsSignal(Pods()).check(question(**check))
    assert sample.message == f"pods: {wrong}"


async def test_a_check_that_makes_sense_is_said_to_and_nothing_is_forgotten_for_that() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(100, OLD))) == 0
    assert await course.signal.check(course.question) is None
    assert await course.at(30, pod("a", running(103, 20))) == 3


# Restarts.

FIRST: dict[str, tuple[Object, int]] = {
    "none": (pod("a", running(), made=-60), 0),
    "all of a pod that was made within the time": (pod("a", running(4, -10), made=-300), 4),
    "the last of a pod that is older": (pod("a", running(400, -10)), 1),
    "none of a pod that is older, if the last was before": (pod("a", running(400, -601)), 0),
    "the last of one that has just crashed": (
        pod("a", {"name": "web", "restartCount": 9, "state": {"terminated": ended("Error", -1, -5)}, "lastState": {}}),
        1,
    ),
    "the last of one that waits to be restarted": (
        pod("a", waits("CrashLoopBackOff", 9, last=ended("Error", -100, -110))),
        1,
    ),
    "none, if the last was long ago and only its end is near": (
        pod("a", waits("CrashLoopBackOff", 9, last=ended("Error", -100, -4000))),
        0,
    ),
    "the last of one that could not be started, by its end": (
        pod("a", waits("CrashLoopBackOff", 9, last=ended("StartError", -100) | {"startedAt": "1970-01-01T00:00:00Z"})),
        1,
    ),
    "none of an older one that does not say when": (pod("a", running(400)), 0),
    "all of a new one that does not say when": (pod("a", running(3), made=-300), 3),
    "all containers, the initial ones too": (
        pod("a", running(2, -1), running(1, -1, name="side"), initial=[running(3, -9, name="init")], made=-60),
        6,
    ),
    "those of a pod that is being deleted": (pod("a", running(3, -1), made=-60, deleted=True), 3),
    "all, whatever clock the node has": (pod("a", running(3, 50), made=40), 3),
    "none of a pod without a status": ({"metadata": {"name": "a", "uid": "a"}}, 0),
    "none of a container without a count": (pod("a", {"name": "web"}, made=-60), 0),
}


@pytest.mark.parametrize("case", FIRST)
async def test_at_first_sight_count(case: str) -> None:
    thing, number = FIRST[case]
    sample = await asked(thing, pod("well", running()), restarts=">= 1")
    assert sample.value == f"{number} restart{'' if number == 1 else 's'}"
    assert sample.verdict is (Verdict.BREACH if number else Verdict.HEALTHY)


async def test_what_is_bad_is_told_with_the_worst_containers() -> None:
    names = "abcde"
    pods = [pod(name, running(number + 1, -1), made=-60) for number, name in enumerate(names)]
    sample = await asked(*pods, restarts=">  5")
    assert sample.value == "15 restarts"
    assert sample.message == (
        "15 restarts within 10m > 5 (pod e container web 5, pod d container web 4, pod c container web 3, and 2 more)"
    )


LIMITS = [("> 3", False), (">= 3", True), ("> 2", True), (">= 4", False)]


@pytest.mark.parametrize("limit, bad", LIMITS)
async def test_three_restarts_are_compared(limit: str, bad: bool) -> None:  # noqa: FBT001
    sample = await asked(pod("a", running(3, -1), made=-60), restarts=limit)
    assert sample.verdict is (Verdict.BREACH if bad else Verdict.HEALTHY)
    assert bool(sample.message) == bad


class Course:
    """One trigger that is asked again and again."""

    def __init__(self, **check: Any) -> None:
        self.pods = Pods()
        self.signal = PodsSignal(self.pods)
        self.question = question(**{"restarts": "> 5", "within": "10m", **check})

    async def at(self, seconds: float, *pods: Object) -> int:
        self.pods.now = pods
        sample = await self.signal.sample(self.question, AT + seconds)
        return int(sample.value.split()[0])


async def test_restarts_of_an_old_pod_count_from_the_first_sight_on_and_only_within_the_time() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(100, OLD))) == 0
    assert await course.at(30, pod("a", running(102, 29))) == 2
    assert await course.at(60, pod("a", running(102, 29))) == 2
    assert await course.at(90, pod("a", running(103, 80))) == 3
    assert await course.at(615, pod("a", running(103, 80))) == 2, "the first was half-way between two looks"
    assert await course.at(629, pod("a", running(103, 80))) == 2
    assert await course.at(630, pod("a", running(103, 80))) == 1
    assert await course.at(681, pod("a", running(103, 80))) == 0


async def test_restarts_in_a_long_pause_are_spread_over_it() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(0, OLD))) == 0
    assert await course.at(1200, pod("a", running(12, 1200))) == 7, "one each hundred seconds, from 600 to 1200"


async def test_restarts_of_a_new_pod_leave_the_time_one_by_one() -> None:
    course = Course()
    young = pod("a", running(6, -10), made=-310)
    assert [await course.at(seconds, young) for seconds in (0, 339, 341, 389, 391, 591)] == [6, 6, 5, 5, 4, 0]


async def test_a_node_whose_clock_is_fast_moves_no_restart_into_the_future() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(3, 50), made=40)) == 3
    assert await course.at(601, pod("a", running(3, 50), made=40)) == 0


async def test_a_node_whose_clock_is_slow_moves_no_restart_before_the_last_look() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(100, OLD))) == 0
    assert [await course.at(seconds, pod("a", running(102, -500))) for seconds in (30, 599, 601)] == [2, 2, 0]


async def test_a_count_that_falls_is_a_new_beginning() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(9, OLD))) == 0
    assert await course.at(30, pod("a", running(2, 20))) == 0
    assert await course.at(60, pod("a", running(3, 50))) == 1


async def test_pods_that_are_gone_take_their_restarts_with_them() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(5, -1), made=-60)) == 5
    assert await course.at(30, pod("b", running(0, 20), made=10)) == 0
    assert await course.at(60, pod("a", running(5, -1), made=-60), pod("b", running(1, 59), made=10)) == 6


async def test_an_answer_that_does_not_come_forgets_nothing() -> None:
    course = Course()
    assert await course.at(0, pod("a", running(10, OLD))) == 0
    assert await course.at(30, pod("a", running(12, 29))) == 2
    course.pods.error = errors.Unavailable("no answer")
    assert (await course.signal.sample(course.question, AT + 60)).verdict is Verdict.UNKNOWN
    course.pods.error = None
    assert await course.at(90, pod("a", running(13, 80))) == 3


async def test_each_trigger_has_its_own_memory() -> None:
    pods = Pods(pod("a", running(100, OLD)))
    signal = PodsSignal(pods)
    one, other = question(restarts="> 0"), question(restarts="> 0", policy="other")
    assert (await signal.sample(one, AT)).value == "0 restarts"
    pods.now = (pod("a", running(105, 20)),)
    assert (await signal.sample(one, AT + 30)).value == "5 restarts"
    assert (await signal.sample(other, AT + 30)).value == "1 restart"


async def test_the_memory_of_triggers_that_nobody_asks_is_dropped() -> None:
    signal = PodsSignal(Pods(pod("a", running())))
    for policy in ("gone", "stays", "gone-too"):
        await signal.sample(question(restarts="> 0", policy=policy), AT)
    await signal.sample(question(restarts="> 0", policy="stays"), AT + 1)
    assert len(signal._records) == 3
    await signal.sample(question(restarts="> 0", policy="new"), AT + 1 + module.LONGEST_WITHIN)
    assert [policy for _, policy, _ in signal._records] == ["stays", "new"]


async def test_a_container_is_remembered_within_bounds() -> None:
    course = Course()
    await course.at(0, pod("a", running(0, OLD)))
    assert await course.at(30, pod("a", running(2_000_000_000, 29))) == module.MOST_RESTARTS
    assert await course.at(60, pod("a", running(2_000_000_010, 59))) == module.MOST_RESTARTS


async def test_nothing_is_remembered_for_a_check_without_restarts() -> None:
    signal = PodsSignal(Pods(pod("a", running())))
    await signal.sample(question(not_ready="> 0"), AT)
    assert signal._records == {}


@given(
    steps=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 4)), max_size=12),
    within=st.sampled_from([60, 600]),
)
async def test_no_more_restarts_are_counted_than_there_were_since_the_last_look_before_the_time(
    steps: list[tuple[int, int]], within: int
) -> None:
    course = Course(within=f"{within}s")
    now, count, looks = 0, 100, [(0, 100)]
    await course.at(0, pod("a", running(100, OLD)))
    for pause, restarts in steps:
        now, count = now + pause, count + restarts
        looks.append((now, count))
        counted = await course.at(now, pod("a", running(count, now if restarts else OLD)))
        at_least = count - min(number for at, number in looks if at >= now - within)
        earlier = [number for at, number in looks if at < now - within]
        assert at_least <= counted <= count - max(earlier, default=100)


# Reasons.

OOM = "OOMKilled"
REASONS: dict[str, tuple[Object, list[str], str | None]] = {
    "it waits for one in the list": (
        pod("a", waits("ImagePullBackOff")),
        ["CrashLoopBackOff", "ImagePullBackOff"],
        "pod a container web ImagePullBackOff",
    ),
    "an initial one waits": (
        pod("a", running(), initial=[waits("CrashLoopBackOff", name="init")]),
        ["CrashLoopBackOff"],
        "pod a container init CrashLoopBackOff",
    ),
    "not if it waits for another": (pod("a", waits("ContainerCreating")), ["CrashLoopBackOff"], None),
    "not if its pod is being deleted": (pod("a", waits("CrashLoopBackOff"), deleted=True), ["CrashLoopBackOff"], None),
    "not if its pod was evicted": (pod("a", waits("CrashLoopBackOff"), phase="Failed"), ["CrashLoopBackOff"], None),
    "it ran out of memory and runs again": (
        pod("a", running(1, -60, last=ended(OOM, -61))),
        [OOM],
        "pod a container web OOMKilled",
    ),
    "it ran out of memory and waits": (
        pod("a", waits("CrashLoopBackOff", 1, last=ended(OOM, -61))),
        [OOM],
        "pod a container web OOMKilled",
    ),
    "it has just run out of memory": (
        pod("a", {"name": "web", "state": {"terminated": ended(OOM, 0)}}),
        [OOM],
        "pod a container web OOMKilled",
    ),
    "not if it ran out of memory before": (pod("a", running(1, -600, last=ended(OOM, -601))), [OOM], None),
    "not if it ended for another reason": (pod("a", running(1, -60, last=ended("Error", -61))), [OOM], None),
    "not if running out of memory was not asked for": (
        pod("a", running(1, -60, last=ended(OOM, -61))),
        ["CrashLoopBackOff"],
        None,
    ),
    "not if it is well": (pod("b", running()), ["CrashLoopBackOff", OOM], None),
}


@pytest.mark.parametrize("case", REASONS)
async def test_a_container_is_bad_if(case: str) -> None:
    thing, reasons, expected = REASONS[case]
    sample = await asked(thing, pod("well", running()), reasons=reasons)
    if expected is None:
        assert sample == Sample(AT, Verdict.HEALTHY, "0 failing")
    else:
        assert sample == Sample(AT, Verdict.BREACH, "1 failing", f"1 failing ({expected})")


async def test_a_pods_own_words_are_not_repeated() -> None:
    bad = pod("a", waits("CrashLoopBackOff", 3, last=ended(OOM, -1)), ready="False", made=-60)
    sample = await asked(bad, restarts="> 0", reasons=["CrashLoopBackOff", OOM], not_ready="> 0")
    assert sample.value == "3 restarts, 1 failing, 1 of 1 not ready"
    assert sample.message == (
        "3 restarts within 10m > 0 (pod a container web 3); 1 failing (pod a container web CrashLoopBackOff); "
        "1 of 1 not ready > 0 (pod a)"
    )


async def test_one_part_of_a_check_is_enough() -> None:
    sample = await asked(pod("a", running(1, -1), made=-60), restarts="> 5", not_ready="> 0", reasons=[OOM])
    assert sample == Sample(AT, Verdict.HEALTHY, "1 restart, 0 failing, 0 of 1 not ready")
    sample = await asked(pod("a", running(1, -1), made=-60, ready="False"), restarts="> 5", not_ready="> 0")
    assert sample.verdict is Verdict.BREACH
    assert sample.message == "1 of 1 not ready > 0 (pod a)"


# Readiness.


def of(well: int, *others: Object) -> tuple[Object, ...]:
    return (*(pod(f"well-{number}", running()) for number in range(well)), *others)


def failing(number: int) -> tuple[Object, ...]:
    return tuple(pod(f"bad-{index}", running(), ready="False") for index in range(number))


READY: list[tuple[str, tuple[Object, ...], bool]] = [
    ("> 1", of(3, *failing(1)), False),
    ("> 1", of(3, *failing(2)), True),
    (">= 1", of(3, *failing(1)), True),
    (">= 0", of(3), True),
    ("> 50%", of(2, *failing(2)), False),
    ("> 50 %", of(1, *failing(2)), True),
    (">= 50%", of(2, *failing(2)), True),
    ("> 33%", of(2, *failing(1)), True),
    (">= 34%", of(2, *failing(1)), False),
    (">=57%", of(43, *failing(57)), True),
    ("> 100%", of(0, *failing(3)), False),
    ("> 0", of(1, pod("new", ready=None, phase="Pending")), True),
    ("> 0", of(1, pod("lost", ready="Unknown")), True),
    ("> 0", of(1, pod("ending", ready="False", deleted=True)), False),
    ("> 0", of(1, pod("evicted", ready="False", phase="Failed")), False),
    ("> 0", of(1, pod("done", ready="False", phase="Succeeded")), False),
]


@pytest.mark.parametrize("limit, pods, bad", READY)
async def test_pods_that_are_not_ready_are_compared(limit: str, pods: tuple[Object, ...], bad: bool) -> None:  # noqa: FBT001
    sample = await asked(*pods, not_ready=limit)
    assert sample.verdict is (Verdict.BREACH if bad else Verdict.HEALTHY)


async def test_pods_that_are_not_ready_are_named() -> None:
    sample = await asked(*of(6, *failing(4)), not_ready="> 30%")
    assert sample.value == "4 of 10 not ready"
    assert sample.message == "4 of 10 not ready > 30% (pod bad-0, pod bad-1, pod bad-2, and 1 more)"


async def test_it_knows_no_past() -> None:
    signal: Signal = PodsSignal(Pods())
    assert signal.source == "pods"
    assert isinstance(signal, Checking)
    assert list(await signal.history(question(restarts="> 0"), 0, AT)) == []
    await signal.close()
