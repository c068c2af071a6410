"""Whether a target could be rolled back right now, as a request would find out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback_operator.api.policy import PolicyStatus, Proof
from rollback_operator.api.reasons import Reason
from rollback_operator.core.values import Findings, Obstacle, Other
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.policies.arming import Arming, Disarmed
from rollback_operator.settings import Settings
from rollback_operator.targets import by_kind
from rollback_operator.targets.base import Where
from rollback_operator.targets.deployment import DeploymentTarget
from rollback_operator.watching import standing_of
from tests.unit.builders import called, entry, fingerprint, other
from tests.unit.fakes import FakeApi, failing
from tests.unit.objects import Object, deployment, policy_body, replica_set, template
from tests.unit.sets import record, stateful_set

KEY = ("shop", "checkout")


def release(*numbers: int, **fields: Any) -> list[Object]:
    return [deployment(f"shop:{numbers[-1]}", number=numbers[-1], **fields), *(replica_set(one) for one in numbers)]


async def look(api: FakeApi, *requests: Other, ledger: Any = (), **spec: Any) -> Disarmed | None:
    door: Any = api
    targets = by_kind(door)
    standing = standing_of(policy_body(**spec), None, "rollback")
    standing.status = PolicyStatus(ledger=ledger)
    snapshot = await targets["Deployment"].observe(Where(*KEY, ServiceAccount("shop", "rollback")), None, None)
    return await Arming(door, targets, Settings()).look(standing, snapshot, requests)


async def test_it_could() -> None:
    api = FakeApi(*release(1, 2, 3))
    assert await look(api) is None
    assert api.writes() == []


async def test_there_is_no_such_target() -> None:
    assert await look(FakeApi()) == (
        Reason.TARGET_NOT_FOUND,
        "There is no Deployment/checkout in namespace shop. Correct spec.target, or create it.",
    )


async def test_it_is_paused() -> None:
    disarmed = await look(FakeApi(*release(1, 2, paused=True)))
    assert disarmed is not None
    assert disarmed[0] is Reason.TARGET_PAUSED


NOWHERE: dict[str, tuple[list[Object], dict[str, Any], Reason]] = {
    "only one revision": (release(3), {}, Reason.NOTHING_TO_ROLL_BACK_TO),
    "the one that is wanted is gone": (release(2, 3), {"to": "1"}, Reason.REVISION_NOT_FOUND),
    "the one that is wanted runs": (release(2, 3), {"to": "3"}, Reason.ALREADY_AT_REVISION),
}


@pytest.mark.parametrize("case", NOWHERE)
async def test_there_is_nowhere_to_go_back_to(case: str) -> None:
    things, spec, expected = NOWHERE[case]
    disarmed = await look(FakeApi(*things), **spec)
    assert disarmed is not None
    assert disarmed[0] is expected
    assert disarmed[1].endswith((".", "anew."))


async def of_two(api: FakeApi) -> str:
    """Fingerprint of the revision before."""
    door: Any = api
    snapshot = await by_kind(door)["Deployment"].observe(Where(*KEY, ServiceAccount("shop", "rollback")), None, None)
    assert snapshot is not None
    return next(one.fingerprint for one in snapshot.history if one.name == "2")


async def test_what_proved_bad_is_nowhere_to_go_back_to() -> None:
    api = FakeApi(*release(2, 3))
    bad = entry("b", Proof.BAD).model_copy(update={"fingerprint": await of_two(api)})
    disarmed = await look(api, ledger=(bad,))
    assert disarmed is not None
    assert disarmed[0] is Reason.NOTHING_TO_ROLL_BACK_TO
    good = called("b", Proof.GOOD).model_copy(update={"fingerprint": bad.fingerprint}).dump()
    assert await corrected(api, bad, good) is None, "but if people say otherwise"


async def corrected(api: FakeApi, bad: Any, good: Object) -> Disarmed | None:
    door: Any = api
    targets = by_kind(door)
    standing = standing_of(policy_body(ledger=[good]), None, "rollback")
    standing.status = PolicyStatus(ledger=(bad,))
    snapshot = await targets["Deployment"].observe(Where(*KEY, ServiceAccount("shop", "rollback")), None, None)
    return await Arming(door, targets, Settings()).look(standing, snapshot, ())


async def test_nor_is_what_was_rolled_back_from() -> None:
    api = FakeApi(*release(2, 3))
    left = other("tuesday", applied=True, left=await of_two(api))
    assert await look(api, left) is not None
    assert await look(api, other("tuesday", applied=True, left=fingerprint("j"))) is None


NEEDS = {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "payment", "key": "k"}}}]}


async def test_what_it_would_need_is_gone() -> None:
    before = template("shop:2", **NEEDS)
    api = FakeApi(deployment(), replica_set(2, pods=before), replica_set(3))
    disarmed = await look(api)
    assert disarmed is not None
    assert disarmed[0] is Reason.MISSING_DEPENDENCY
    assert "payment" in disarmed[1]
    assert disarmed[1].endswith("Restore it.")
    (read,) = [call for call in api.calls if "/secrets/" in call.path]
    assert read.as_ == "shop/rollback", "never with the operator's own rights"


@pytest.mark.parametrize("named", [None, "mine"])
async def test_its_account_may_not(named: str | None) -> None:
    api = FakeApi(*release(2, 3))
    api.lacking = {"patch"}
    account = f"shop/{named or 'rollback'}"
    assert await look(api, **({"serviceAccountName": named} if named else {})) == (
        Reason.MAY_NOT_ROLL_BACK,
        (
            f"Service account {account} may not patch deployments checkout in namespace shop. Give it the rights: "
            "examples/rbac.yaml shows which."
        ),
    )


async def test_it_is_armed_without_the_right_to_delete_pods() -> None:
    """A StatefulSet goes back all the same, and the plan has a note."""
    api: Any = FakeApi(stateful_set(), *(record(number) for number in (1, 2, 3)))
    api.lacking = {"delete"}
    targets = by_kind(api)
    standing = standing_of(policy_body(target={"kind": "StatefulSet", "name": "checkout"}), None, "rollback")
    snapshot = await targets["StatefulSet"].observe(standing.where, None, None)
    assert await Arming(api, targets, Settings()).look(standing, snapshot, ()) is None


async def test_what_cannot_be_asked_is_not_made_up() -> None:
    api = FakeApi(*release(2, 3))
    api.faults.append(failing("POST /apis/authorization", errors.Unavailable("no answer")))
    with pytest.raises(errors.Unavailable):
        await look(api)


async def test_it_could_and_perhaps_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "The next release may remove revision 2."
    examine = DeploymentTarget.examine

    async def warning(*args: Any) -> Findings:
        return replace(await examine(*args), warning=said)

    monkeypatch.setattr(DeploymentTarget, "examine", warning)
    assert await look(FakeApi(*release(1, 2, 3))) == (Reason.ARMED_FOR_NOW, said)


async def test_the_target_must_not_go_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(*_: Any) -> Findings:
        return Findings((), "", obstacle=Obstacle(Reason.WOULD_DELETE_CRD, "It would delete tills."))

    monkeypatch.setattr(DeploymentTarget, "examine", refusing)
    assert await look(FakeApi(*release(1, 2, 3))) == (Reason.WOULD_DELETE_CRD, "It would delete tills.")
