"""Reading the records of a release: as the account, each version once, and the newest whatever their order."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount
from rollback_operator.targets.base import Where
from rollback_operator.targets.helm import store as stores
from rollback_operator.targets.helm.store import Store
from tests.unit.helm import release, secret

Object = dict[str, Any]
WHERE = Where("shop", "shop", ServiceAccount("shop", "rollback"))


class Secrets:
    """The Secrets of an API server that gives lists in pages of two, by name."""

    def __init__(self, *things: Object) -> None:
        self.things = {one["metadata"]["name"]: one for one in things}
        self.calls: list[str] = []

    async def get(self, path: str, *, as_: ServiceAccount, query: Any = None, metadata_only: bool = False) -> Object:
        assert as_ == WHERE.account
        name = path.rpartition("/")[2]
        if name != "secrets":
            self.calls.append(f"GET {name}")
            if name not in self.things:
                raise errors.NotFound(name)
            return copy.deepcopy(self.things[name])
        assert metadata_only
        assert query["labelSelector"] == "owner=helm,name=shop"
        self.calls.append("LIST")
        names = sorted(self.things)
        at = int(query.get("continue", 0))
        items = [{"metadata": self.things[one]["metadata"]} for one in names[at : at + 2]]
        more = {"continue": str(at + 2)} if at + 2 < len(names) else {}
        return {"metadata": more, "items": items or None}


def made(*things: Object) -> tuple[Store, Secrets]:
    api = Secrets(*things)
    door: Any = api
    return Store(door), api


def numbered(*numbers: int) -> list[Object]:
    return [secret(number, release(number)) for number in numbers]


async def test_records_come_oldest_first_whatever_their_names_order_is() -> None:
    store, _ = made(*numbered(9, 10, 11, 100, 2))

    assert [one.number for one in await store.records(WHERE)] == [2, 9, 10, 11, 100]


async def test_there_are_none() -> None:
    store, _ = made()

    assert await store.records(WHERE) == ()


async def test_of_very_many_the_newest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOST_RECORDS", 3)
    store, api = made(*numbered(8, 9, 10, 11, 12))

    assert [one.number for one in await store.records(WHERE)] == [10, 11, 12]
    assert sum(call.startswith("GET") for call in api.calls) == 3


async def test_what_did_not_change_is_read_once() -> None:
    store, api = made(*numbered(1, 2))
    await store.records(WHERE)
    api.calls.clear()
    changed = secret(2, release(2, status="deployed"))
    changed["metadata"]["resourceVersion"] = "999"
    api.things[changed["metadata"]["name"]] = changed

    found = await store.records(WHERE)

    assert api.calls == ["LIST", "GET sh.helm.release.v1.shop.v2"]
    assert [one.status for one in found] == ["superseded", "deployed"]


async def test_a_record_that_is_removed_meanwhile_is_passed_over() -> None:
    store, api = made(*numbered(1, 2))
    get = api.get

    async def removing(path: str, **more: Any) -> Object:
        answer = await get(path, **more)
        api.things.pop("sh.helm.release.v1.shop.v1", None)
        return answer

    api.get = removing  # type: ignore[method-assign]
    assert [one.number for one in await store.records(WHERE)] == [2]


async def test_other_secrets_with_the_labels_are_passed_over() -> None:
    odd = secret(3, release(3))
    odd["metadata"]["name"] = "sh.helm.release.v1.other.v3"
    store, _ = made(*numbered(1), odd)

    assert [one.number for one in await store.records(WHERE)] == [1]
