"""Our own resources at the API server: read fresh, in pages, and written under guard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollback_operator.api import POLICIES, REQUESTS
from rollback_operator.api.common import TargetRef
from rollback_operator.api.policy import PolicyStatus, Proof
from rollback_operator.api.request import Phase, RequestStatus
from rollback_operator.core.values import Other
from rollback_operator.kube import errors, resources
from rollback_operator.kube.client import Api
from tests.unit.builders import CHECKOUT, NOW, after, entry, fingerprint, request, verifying
from tests.unit.fakes import FakeApi
from tests.unit.objects import Object, policy_body, request_body


def door(*things: Object) -> tuple[FakeApi, Api]:
    fake: Any = FakeApi(*things)
    return fake, fake


async def test_a_status_replaces_that_of_the_very_version_that_was_read() -> None:
    fake, api = door(request_body())
    body = fake.current(request_body())
    written = await resources.write_status(api, REQUESTS, body, RequestStatus(phase=Phase.PENDING))
    (call,) = fake.writes()
    assert str(call) == "PUT /apis/rollback.dev/v1alpha1/namespaces/shop/rollbackrequests/undo/status"
    assert call.as_ == "the operator"
    metadata = body["metadata"]
    assert call.body["metadata"] == {name: metadata[name] for name in ("namespace", "name", "uid", "resourceVersion")}
    assert call.body["spec"] == body["spec"]
    assert (call.body["apiVersion"], call.body["kind"]) == ("rollback.dev/v1alpha1", "RollbackRequest")
    assert written["status"]["phase"] == "Pending"
    assert written["metadata"]["resourceVersion"] != metadata["resourceVersion"]


async def test_a_status_of_an_older_version_is_not_written() -> None:
    fake, api = door(request_body())
    body = fake.current(request_body())
    fake.edit(body, lambda thing: thing["spec"].update(abort=True))
    with pytest.raises(errors.Conflict):
        await resources.write_status(api, REQUESTS, body, RequestStatus(phase=Phase.FAILED))
    assert "phase" not in fake.current(body)["status"]


async def test_what_is_not_there_is_none() -> None:
    _, api = door()
    assert await resources.read(api, REQUESTS, ("shop", "undo")) is None
    assert await resources.read_policy(api, ("shop", "checkout")) is None


async def test_a_policy_is_read_with_its_orders() -> None:
    _, api = door(policy_body(to="3", serviceAccountName="mine"))
    found = await resources.read_policy(api, ("shop", "checkout"))
    assert found is not None
    spec = found.spec
    assert (spec.to, spec.service_account_name, spec.verify.timeout) == ("3", "mine", "5m")
    assert not found.ledger
    assert not found.remembered


async def test_a_policy_is_read_with_its_ledger() -> None:
    known = entry("b", Proof.GOOD)
    _, api = door(policy_body() | {"status": PolicyStatus(ledger=(known,)).dump()})
    found = await resources.read_policy(api, ("shop", "checkout"))
    assert found is not None
    assert found.ledger == (known,)


async def test_of_a_policy_whose_status_cannot_be_read_what_can_be_is() -> None:
    known = entry("b", Proof.GOOD)
    status = {"verdict": "Splendid", "ledger": [{"fingerprint": 7}, known.dump()]}
    _, api = door(policy_body() | {"status": status})
    found = await resources.read_policy(api, ("shop", "checkout"))
    assert found is not None
    assert found.ledger == (known,)


async def test_orders_that_cannot_be_read_are_refused_with_where_and_without_what_stands_there() -> None:
    _, api = door(policy_body(mode="OfLaterTimes", soak=7))
    with pytest.raises(resources.IllegibleError) as raised:
        await resources.read_policy(api, ("shop", "checkout"))
    assert str(raised.value).startswith("mode: Input should be 'Enforce', 'Observe' or 'Suspend'; soak: ")
    assert "OfLaterTimes" not in str(raised.value)


class Pages:
    """A server that gives a list in pages."""

    def __init__(self, *pages: list[Object]) -> None:
        self.pages = list(pages)
        self.queries: list[Object] = []
        self.paths: list[str] = []

    async def get(self, path: str, *, as_: object, query: Object) -> Object:
        self.paths.append(path)
        self.queries.append(dict(query))
        number = int(query.get("continue", "0"))
        token = {"continue": str(number + 1)} if number + 1 < len(self.pages) else {}
        return {"metadata": token, "items": self.pages[number], "as": str(as_)}


async def test_a_list_is_read_to_its_last_page() -> None:
    pages: Any = Pages([{"n": 1}, {"n": 2}], [], [{"n": 3}])
    found = await resources.list_all(pages, REQUESTS, "shop", "status.phase!=Failed")
    assert found == [{"n": 1}, {"n": 2}, {"n": 3}]
    base = {"limit": 500, "fieldSelector": "status.phase!=Failed"}
    assert pages.queries == [base, base | {"continue": "1"}, base | {"continue": "2"}]
    assert set(pages.paths) == {"/apis/rollback.dev/v1alpha1/namespaces/shop/rollbackrequests"}


async def test_a_list_may_be_that_of_all_namespaces() -> None:
    pages: Any = Pages([])
    assert await resources.list_all(pages, POLICIES, None) == []
    assert pages.paths == ["/apis/rollback.dev/v1alpha1/rollbackpolicies"]
    assert pages.queries == [{"limit": 500}]


# The requests for a target.


def about(name: str, target: str = "checkout", **more: Any) -> Object:
    return request_body(name, uid=f"uid-of-{name}", target={"kind": "Deployment", "name": target}, **more)


def by_policy(name: str, policy: str, *, uid: str | None = None, **more: Any) -> Object:
    named = {"name": policy} if uid is None else {"name": policy, "uid": uid}
    return request_body(name, uid=f"uid-of-{name}", policyRef=named, **more)


async def names_for_checkout(*things: Object) -> list[str]:
    _, api = door(*things)
    return sorted(one.name for one in await resources.requests_for(api, "shop", CHECKOUT))


ABOUT: dict[str, tuple[tuple[Object, ...], list[str]]] = {
    "none": ((), []),
    "one that names it": ((about("a"),), ["a"]),
    "none that names another": ((about("a", "cart"),), []),
    "none of another namespace": ((about("a") | {"metadata": about("a")["metadata"] | {"namespace": "other"}},), []),
    "one that names its policy": ((policy_body("p"), by_policy("a", "p")), ["a"]),
    "none that names another policy": ((policy_body("p"), by_policy("a", "q")), []),
    "those of all its policies": (
        (policy_body("p"), policy_body("q"), by_policy("a", "p"), by_policy("b", "q")),
        ["a", "b"],
    ),
    "none of a policy for another target": (
        (policy_body("p", target={"kind": "Deployment", "name": "cart"}), by_policy("a", "p")),
        [],
    ),
    "one that was about it when it was taken up": (
        (by_policy("a", "gone") | {"status": {"phase": "Running", "target": "Deployment/checkout"}},),
        ["a"],
    ),
    "each once": ((about("a") | {"status": {"phase": "Pending", "target": "Deployment/checkout"}},), ["a"]),
}


@pytest.mark.parametrize("case", ABOUT)
async def test_the_requests_for_a_target_are(case: str) -> None:
    things, expected = ABOUT[case]
    assert await names_for_checkout(*things) == expected


async def test_a_target_of_another_kind_is_another_target() -> None:
    other = about("a")
    other["spec"]["target"]["kind"] = "StatefulSet"
    assert await names_for_checkout(other) == []


def application(name: str, namespace: str, *, of: str | None = None, status: str | None = None) -> Object:
    """A request in `namespace` for the Application `web`, which is in `of` or the same."""
    target = {"kind": "Application", "name": "web", **({"namespace": of} if of else {})}
    body = request_body(name, uid=f"uid-of-{name}", target=target)
    body["metadata"]["namespace"] = namespace
    if status:
        body["status"] = {"phase": "Running", "target": status}
    return body


def policy_of_web(namespace: str, of: str) -> Object:
    body = policy_body("p", target={"kind": "Application", "name": "web", "namespace": of})
    body["metadata"]["namespace"] = namespace
    return body


def in_namespace(body: Object, namespace: str) -> Object:
    return body | {"metadata": body["metadata"] | {"namespace": namespace}}


ACROSS: dict[str, tuple[tuple[Object, ...], list[str]]] = {
    "one beside it": ((application("a", "argocd"),), ["a"]),
    "one of another namespace that names it": ((application("a", "team", of="argocd"),), ["a"]),
    "none of another namespace that names its own": ((application("a", "team"),), []),
    "none that names another's": ((application("a", "argocd", of="team"),), []),
    "one of a policy in another namespace": (
        (policy_of_web("team", "argocd"), in_namespace(by_policy("a", "p"), "team")),
        ["a"],
    ),
    "none of a policy of that name elsewhere": (
        (policy_of_web("team", "argocd"), in_namespace(by_policy("a", "p"), "other")),
        [],
    ),
    "one elsewhere that was about it": (
        (in_namespace(by_policy("a", "gone"), "team") | {"status": {"target": "Application/argocd/web"}},),
        ["a"],
    ),
    "one beside it that was about it": (
        (in_namespace(by_policy("a", "gone"), "argocd") | {"status": {"target": "Application/web"}},),
        ["a"],
    ),
    "none elsewhere that was about its own": (
        (in_namespace(by_policy("a", "gone"), "team") | {"status": {"target": "Application/web"}},),
        [],
    ),
}
WEB = [("argocd", None), ("argocd", "argocd"), ("shop", "argocd")]


@pytest.mark.parametrize("namespace,named", WEB)
@pytest.mark.parametrize("case", ACROSS)
async def test_the_requests_for_an_application_wherever_they_are(case: str, namespace: str, named: str | None) -> None:
    things, expected = ACROSS[case]
    _, api = door(*things)
    ref = TargetRef(kind="Application", name="web", namespace=named)
    assert sorted(one.name for one in await resources.requests_for(api, namespace, ref)) == expected


async def test_an_operator_of_one_namespace_lists_no_other() -> None:
    fake, api = door(application("a", "shop", of="argocd"), application("b", "argocd"))
    ref = TargetRef(kind="Application", name="web", namespace="argocd")
    assert [one.name for one in await resources.requests_for(api, "shop", ref, "shop")] == ["a"]
    assert all("/namespaces/shop/" in call.path for call in fake.calls)


async def test_what_matters_of_another_request_is_told() -> None:
    status = verifying().status
    body = by_policy("a", "p", uid="uid-of-p", dryRun=True) | {"status": status.dump()}
    _, api = door(body, policy_body("p"))
    (told,) = await resources.requests_for(api, "shop", CHECKOUT)
    assert told == Other(
        uid="uid-of-a",
        name="a",
        created=NOW,
        phase=Phase.VERIFYING,
        dry_run=True,
        applied=True,
        left=fingerprint("c"),
        left_name="3",
        to=fingerprint("b"),
        to_name="2",
        reason="RollingOut",
        message="Deployment/checkout was set back to revision 2; waiting for its pods.",
        policy_uid="uid-of-p",
        by_policy=True,
    )


GRACED: dict[str, tuple[dict[str, Any], Phase | None, bool]] = {
    "it is in its grace": ({"grace": "5m"}, Phase.AWAITING_APPROVAL, True),
    "nobody took it up yet": ({"grace": "5m"}, None, True),
    "its policy is not there yet": ({"grace": "5m"}, Phase.PENDING, True),
    "its grace is over": ({"grace": "10s"}, Phase.AWAITING_APPROVAL, False),
    "it was approved": ({"grace": "5m", "approve": True}, Phase.AWAITING_APPROVAL, False),
    "it was approved, and it runs": ({"grace": "5m", "approve": True}, Phase.RUNNING, False),
    "it has no grace": ({}, Phase.PENDING, False),
}


@pytest.mark.parametrize("case", GRACED)
def test_whether_a_request_waits_for_people_is_told_when(case: str) -> None:
    fields, phase, graced = GRACED[case]
    created = datetime.now(UTC) - timedelta(seconds=60)
    told = resources.other_of(request(RequestStatus(phase=phase), created=created, **fields))
    assert told.graced is graced


async def test_when_another_request_ended_is_told() -> None:
    body = about("a") | {"status": RequestStatus(phase=Phase.FAILED, finished_at=after(3)).dump()}
    _, api = door(body)
    (told,) = await resources.requests_for(api, "shop", CHECKOUT)
    assert (told.applied, told.left, told.finished) == (False, None, after(3))


def test_a_request_is_read_whole() -> None:
    request = resources.parse_request(request_body(to=3, timeout="90s"))
    assert (request.namespace, request.name, request.uid, request.generation) == ("shop", "undo", "uid-of-request", 1)
    assert request.created == NOW
    assert (request.spec.to, request.spec.timeout) == ("3", "90s")
    assert request.status == RequestStatus()


def test_a_request_without_a_status_has_none() -> None:
    body = request_body()
    del body["status"]
    assert resources.parse_request(body).status == RequestStatus()


async def test_a_request_that_cannot_be_read_keeps_no_other_from_running() -> None:
    """Another version of the operator may have written it, and for an Application it may be anybody's."""
    odd = request_body("odd", target={"kind": "Deployment", "name": "checkout"})
    odd["status"] = {"phase": "OfLaterTimes"}
    _, api = door(odd, request_body("fine", target={"kind": "Deployment", "name": "checkout"}))

    assert [one.name for one in await resources.requests_for(api, "shop", CHECKOUT)] == ["fine"]
