"""What tenants write to harm others: it ends their own request, and the operator goes on."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed import Binaries
from testbed.operating import OperatorProcess
from tests.e2e.helming import Shop
from tests.e2e.world import World, condition, outcome, web

Object = dict[str, Any]


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"helm": str(Binaries().path("helm"))}


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Shop:
    shop = Shop(world.cluster, world.namespace, tmp_path)
    shop.allow()
    return shop


def _manifest(text: str) -> Callable[[Object], None]:
    return lambda release: release.update(manifest=text)


_MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)
RECORDS: dict[str, Callable[[Object], None]] = {
    "overflows the parser's stack": _manifest("[" * 300_000),
    "grows in the parser": _manifest(_MERGES),
    "is millions of objects": lambda release: release.update(x=[{}] * 5_000_000),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_release_whose_record(what: str, shop: Shop, operator: OperatorProcess) -> None:
    shop.upgrade("shop:1")
    shop.upgrade("shop:2")
    shop.rewrite(2, RECORDS[what])
    assert outcome(shop.back("back")) == ("Failed", "UnreadableRecord")
    assert operator.process.poll() is None


def test_a_release_that_helm_itself_would_unpack_to_gigabytes(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.upgrade(f"shop:{number}")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b'{"name":"shop","version":1,"info":{"status":"superseded"},"manifest":"')]
    parts += [packer.compress(b"a" * 2**20) for _ in range(350)]
    bomb = b"".join([*parts, packer.compress(b'"}'), packer.flush()])
    secret = shop.record(1)
    secret["data"]["release"] = base64.b64encode(base64.b64encode(bomb)).decode()
    shop.kubectl("replace", "-f", "-", input=json.dumps(secret))

    body = shop.back("back")

    assert outcome(body) == ("Failed", "Rejected")
    assert "out of memory" in condition(body, "Ready")["message"]
    assert shop.image() == "shop:3"


def test_a_deployment_that_is_as_large_as_it_may_be(world: World) -> None:
    one, other = ([f"a{i**power % 101}" for i in range(30_000)] for power in (2, 3))
    for image, arguments in (("shop:1", one), ("shop:2", other)):
        world.release(web(image, args=arguments))

    assert outcome(world.roll_back("back")) == ("Succeeded", "Completed")
