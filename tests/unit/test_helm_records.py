"""What is read from the Secrets of a release, whoever wrote them and whatever is in them."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rollback_operator.targets.helm import records
from rollback_operator.targets.helm.records import Record, UnreadableError, decode, encode, fingerprint, record_of
from tests.unit.helm import release, secret

Object = dict[str, Any]


def twice(data: bytes) -> str:
    return base64.b64encode(base64.b64encode(data)).decode()


def test_a_record_tells_what_it_is() -> None:
    record = record_of(secret(3, release(3, status="deployed", deployed="2026-11-21T10:00:00.123456789Z")), "shop")

    assert record is not None
    assert (record.number, record.secret, record.status) == (3, "sh.helm.release.v1.shop.v3", "deployed")
    assert record.deployed == datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
    assert record.candidate


def test_what_is_encoded_is_decoded() -> None:
    body = release(2)

    assert decode({"data": {"release": encode(body)}}) == body


UNREADABLE = {
    "nothing there": (None, "it has no entry `release`"),
    "not base64 at all": ("%%%", "its data is not base64 as Helm writes it"),
    "base64 once only": (base64.b64encode(b"\x1f\x8b\x08").decode(), "its data is not base64 as Helm writes it"),
    "not gzip": (twice(b"plain words"), "it is not gzip"),
    "gzip that is cut off": (twice(gzip.compress(b"x" * 5000)[:20]), "its gzip is cut off"),
    "gzip that is damaged": (twice(b"\x1f\x8b\x08\x00" + b"\xff" * 40), "its gzip is damaged"),
    "gzip of what is not JSON": (twice(gzip.compress(b"plain words")), "what is inside is not JSON"),
    "JSON that nests without end": (twice(gzip.compress(b"[" * 100_000)), "what is inside is not JSON"),
    "JSON that is no object": (twice(gzip.compress(b"[1]")), "it holds no release"),
    "a release without info": (twice(gzip.compress(b"{}")), "it holds no release"),
    "JSON of too many values": (
        twice(gzip.compress(b"[" + b",".join([b"{}"] * 600_000) + b"]")),
        "what is inside has more than 500000 values",
    ),
    "a bomb": (twice(gzip.compress(b" " * (records.LARGEST + 10))), "it unpacks to more than 16 MiB"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_a_sentence(case: str) -> None:
    data, said = UNREADABLE[case]
    body = secret(2, release(2))
    body["data"] = {} if data is None else {"release": data}

    record = record_of(body, "shop")

    assert record is not None
    assert (record.number, record.trouble, record.candidate) == (2, said, False)
    assert record.why_not == f"its record cannot be read ({said})"
    with pytest.raises(UnreadableError, match=said):
        decode(body)


ODD: dict[str, Object] = {
    "a chart that is a list": {"chart": ["x"]},
    "hooks that are texts": {"hooks": ["x"]},
    "hooks that ran at no time": {"hooks": [{"events": ["pre-rollback"], "last_run": ["x"]}]},
    "hooks at odd moments": {"hooks": [{"events": [{"x": 1}]}]},
    "files that are texts": {"chart": {"templates": ["x"]}},
}


@pytest.mark.parametrize("what", ODD)
def test_a_record_that_people_wrote_is_a_sentence_too(what: str) -> None:
    record = record_of(secret(2, {**release(2), **ODD[what]}), "shop")

    assert record is not None
    assert (record.number, record.trouble) == (2, "it holds no release as Helm writes one")


def test_what_helm_stored_before_it_packed_is_read_as_helm_does() -> None:
    body = release(1)

    assert decode({"data": {"release": twice(json.dumps(body).encode())}}) == body


NOT_OURS = {
    "another release whose name begins alike": "sh.helm.release.v1.shop.more.v2",
    "no number": "sh.helm.release.v1.shop.vX",
    "another Secret": "password",
}


@pytest.mark.parametrize("name", NOT_OURS.values(), ids=NOT_OURS)
def test_other_secrets_are_no_records(name: str) -> None:
    body = secret(2, release(2))
    body["metadata"]["name"] = name

    assert record_of(body, "shop") is None


def test_a_secret_of_another_type_is_no_record() -> None:
    assert record_of({**secret(2, release(2)), "type": "Opaque"}, "shop") is None


def _changed(change: Any) -> Object:
    body = copy.deepcopy(release(1))
    change(body)
    return body


SAME = {
    "deployed again": lambda body: body.update(version=7),
    "at another time": lambda body: body["info"].update(last_deployed="2027-01-01T00:00:00Z"),
    "in another status": lambda body: body["info"].update(status="failed"),
    "by Helm 4, which notes when files were changed": lambda body: body["chart"].update(
        modtime="2026-01-01T00:00:00Z",
        schemamodtime="0001-01-01T00:00:00Z",
        templates=[{**one, "modtime": "2026-01-01T00:00:00Z"} for one in body["chart"]["templates"]],
    ),
    "with the apply method noted": lambda body: body.update(apply_method="ssa"),
    "with no values given, said otherwise": lambda body: body.update(config=None),
    "rendered anew, with a random password in it": lambda body: body.update(
        manifest="---\n# Source: shop/x.yaml\nx: 2"
    ),
    "templates in another order": lambda body: body["chart"]["templates"].reverse(),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_release_has_one_fingerprint(case: str) -> None:
    assert fingerprint(_changed(SAME[case])) == fingerprint(release(1))


DIFFERENT = {
    "another version of the chart": lambda body: body["chart"]["metadata"].update(version="2.0.0"),
    "another template": lambda body: body["chart"]["templates"][0].update(data="b3RoZXI="),
    "another file": lambda body: body["chart"].update(files=[{"name": "x", "data": "eA=="}]),
    "other defaults": lambda body: body["chart"].update(values={"image": "shop:9"}),
    "other values given": lambda body: body.update(config={"image": "shop:9"}),
    "another subchart, seen by what it renders": lambda body: body.update(
        manifest=body["manifest"] + "---\n# Source: shop/charts/redis/templates/x.yaml\nkind: ConfigMap\n"
    ),
    "another hook of a subchart": lambda body: body.update(
        hooks=[{"path": "shop/charts/redis/x.yaml", "manifest": "x"}]
    ),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_another_release_has_another_fingerprint(case: str) -> None:
    assert fingerprint(_changed(DIFFERENT[case])) != fingerprint(release(1))


WHY_NOT = {
    "deployed": ({"status": "deployed"}, None),
    "superseded": ({"status": "superseded"}, None),
    "failed": ({"status": "failed"}, "its status is failed"),
    "pending": ({"status": "pending-upgrade"}, "its status is pending-upgrade"),
    "uninstalled": ({"status": "uninstalled"}, "its status is uninstalled"),
    "failed before Helm called it superseded": (
        {"status": "superseded", "description": 'Upgrade "shop" failed: context deadline exceeded'},
        "it had failed before it was superseded",
    ),
    "an upgrade that was never completed, before a rollback by hand failed": (
        {"status": "superseded", "description": "Preparing upgrade"},
        "it had failed before it was superseded",
    ),
}


@pytest.mark.parametrize("case", WHY_NOT)
def test_only_what_was_installed_as_a_whole_is_gone_back_to(case: str) -> None:
    info, why = WHY_NOT[case]

    record = record_of(secret(1, release(1, **info)), "shop")

    assert record is not None
    assert record.why_not == why


def _record(body: Object, **annotations: str) -> Record:
    record = record_of(secret(4, body, **annotations), "shop")
    assert record is not None
    return record


def test_our_mark_is_found_in_the_annotation_or_in_helms_description() -> None:
    described = release(4, description="Rollback to 2 (rollback request 6f2c-77)")

    assert _record(release(4), request="uid-1").request == "uid-1"
    assert _record(described).request == "6f2c-77"
    assert _record(release(4)).request is None


def test_hooks_ran_if_they_were_begun_after_the_revision_was() -> None:
    def with_hook(event: str, started: str) -> Object:
        hook = {"name": "migrate", "events": [event], "last_run": {"started_at": started, "phase": "Running"}}
        return {**release(4, deployed="2026-11-21T10:00:00Z"), "hooks": [hook]}

    assert _record(with_hook("pre-rollback", "2026-11-21T10:00:01Z")).hooks_ran
    assert not _record(with_hook("pre-rollback", "2026-11-21T09:00:00Z")).hooks_ran
    assert not _record(with_hook("pre-upgrade", "2026-11-21T10:00:01Z")).hooks_ran


NAMES = {
    "shop": True,
    "shop-2.eu": True,
    "-x": False,
    "--kubeconfig=x": False,
    "Shop": False,
    "a" * 54: False,
    "": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_helm_takes(name: str) -> None:
    assert records.is_release_name(name) is NAMES[name]
