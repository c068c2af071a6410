"""A Deployment whose ConfigMaps go back with it in the model: a policy remembers both, one was changed, one is gone.

What is real: what compares, plans and puts back (`configuration`), the copy that is kept, and `DeploymentTarget`. What
is played: the Deployment's controller, its pods, people, and the wire.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

from rollback_operator.api import REQUEST_ANNOTATION
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remember import Remembered, RememberedObject
from rollback_operator.api.request import PutBack, RequestStatus
from rollback_operator.configuration import identity, together
from rollback_operator.configuration.digest import digest_of, secret_name, whole
from rollback_operator.configuration.memory import SECRET_TYPE
from rollback_operator.configuration.restoring import OWNER, bare
from rollback_operator.core.backups import MANIFESTS
from rollback_operator.kube import errors
from rollback_operator.kube.client import FIELD_MANAGER
from rollback_operator.targets import effects, manifests
from tests.model import cluster, statuses, surroundings
from tests.model.cluster import Deployment, Revision, document, patched, pods, print_of, records
from tests.model.invariants import (
    AFTER_END,
    DENIED,
    ELSEWHERE,
    FALSE_APPLIED,
    FALSE_SUCCESS,
    TWICE,
    UNCOPIED,
    UNPLANNED,
    applied,
    plan_of,
    reason,
)
from tests.model.kinds.scene import Asker, Landed, Object
from tests.model.kinds.shell import NAMESPACE, OK, UID, Clock, ScriptedApi

PUT_BACK_TWICE = "an object was put back twice"
OVERWRITTEN = "an object was put back over another version than the planned one"
TOO_EARLY = "the effect was made before all objects were back"
TOO_LATE = "an object was put back after the effect"
MISNAMED = "the ending does not name just the objects that were put back"
NOT_BACK = "the request says Completed, and saw an object that was not as remembered"

SETTINGS, DATABASE = "settings", "database"
REFERS = (SETTINGS, DATABASE)
GOOD, BAD, NEWER = "a", "b", "c"
"""What an object says: what it said with revision a, with b, and since."""
POLICY, POLICY_UID = "checkout", "uid-of-policy"
POLICIES = f"/rollbackpolicies/{POLICY}"


class Thing(NamedTuple):
    """A ConfigMap; `version` also counts on while it is not there.

    `put`: it was put back, and `lost`: somebody deleted it since, with the mark that tells so.
    """

    letter: str = ""
    """What it says; nothing: it is not there."""
    version: int = 1
    mark: str | None = None
    held: bool = False
    """Fields of it are recorded as the operator's."""
    owned: bool = True
    """Whoever applied it is on record."""
    put: bool = False
    lost: bool = False
    back: bool = False
    """It said once what was remembered."""


class Shop(NamedTuple):
    """The Deployment and what its pods refer to."""

    deployment: Deployment | None = Deployment(refers=REFERS, history=(Revision("a", 2), Revision("b", 3)))
    settings: Thing = Thing(BAD)
    database: Thing = Thing(owned=False)
    copied: bool = False
    effects: int = 0
    on: str | None = None
    """The uid of the Deployment that the effect was made on."""

    def __str__(self) -> str:
        things = (f"{name} {_shown(self.thing(name))}" for name in REFERS)
        return f"{self.deployment or 'no Deployment'}; {', '.join(things)}"

    def thing(self, name: str) -> Thing:
        return self.settings if name == SETTINGS else self.database

    def with_thing(self, name: str, thing: Thing) -> Shop:
        thing = thing._replace(back=thing.back or thing.letter == GOOD)
        return self._replace(settings=thing) if name == SETTINGS else self._replace(database=thing)


def _shown(it: Thing) -> str:
    marked = " (put back)" if it.put else ""
    return f"says {it.letter}{marked}" if it.letter else f"is gone{marked}"


# What the API server holds.


@cache
def config_map(name: str, it: Thing) -> Object:
    """Its JSON."""
    annotations = {"annotations": {REQUEST_ANNOTATION: it.mark}} if it.mark else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name}",
            "resourceVersion": str(it.version),
            **annotations,
            "managedFields": [_entry(cluster.OWNER)] * it.owned + [_entry(FIELD_MANAGER)] * it.held,
        },
        "data": {"mode": it.letter},
    }


def _entry(manager: str) -> Object:
    return {"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:mode": {}}}}


def _read(body: Object, before: Thing) -> Thing:
    """What a ConfigMap is that somebody wrote."""
    managers = [entry["manager"] for entry in body["metadata"]["managedFields"]]
    return before._replace(
        letter=body["data"]["mode"],
        version=before.version + 1,
        mark=(body["metadata"].get("annotations") or {}).get(REQUEST_ANNOTATION),
        held=FIELD_MANAGER in managers,
        owned=cluster.OWNER in managers,
    )


def _remembered_object(name: str, letter: str) -> RememberedObject:
    secret = secret_name(digest_of("ConfigMap", config_map(name, Thing(letter)), POLICY_UID))
    return RememberedObject(kind="ConfigMap", name=name, secret=secret)


def _remembered(pods: tuple[str, str], month: int, letter: str, *names: str) -> Remembered:
    """What ran with the revision of that letter and number."""
    objects = tuple(_remembered_object(name, letter) for name in names)
    template, config = print_of(pods[0], REFERS), whole(objects)
    release = identity.together(template, config) if pods[0] != letter else None
    at = statuses.NOW.replace(month=month)
    its = {"fingerprint": template, "release": release, "revision": pods[1]}
    return Remembered(**its, config=config, at=at, objects=objects, fixed=())


@cache
def policy(*, alone: bool) -> Object:
    """The JSON of the policy, which remembers both."""
    good, bad = ("a", "2"), (("a", "2") if alone else ("b", "3"))
    known = (_remembered(good, 1, GOOD, *REFERS), _remembered(bad, 2, BAD, SETTINGS))
    return {
        "metadata": {"name": POLICY, "namespace": NAMESPACE, "uid": POLICY_UID, "generation": 1},
        "spec": {
            "target": {"kind": "Deployment", "name": cluster.NAME},
            "to": "Previous",
            "remember": {"config": True},
        },
        "status": {"remembered": [one.dump() for one in known]},
    }


@cache
def kept() -> dict[str, Object]:
    """The Secrets that keep the objects as they were, by name."""
    found: dict[str, Object] = {}
    for name in REFERS:
        one = _remembered_object(name, GOOD)
        data = manifests.compressed(bare("ConfigMap", config_map(name, Thing(GOOD))))
        body = manifests.holding((NAMESPACE, one.secret), SECRET_TYPE, {}, {}, {MANIFESTS: data})
        body["metadata"]["annotations"] = {OWNER: json.dumps({"manager": cluster.OWNER, "operation": "Update"})}
        found[one.secret] = body
    return found


class Write(NamedTuple):
    """A write to anything but the status: its body as JSON."""

    verb: str
    name: str
    text: str


# What people do to the objects; what they do to the Deployment is as in the model of requests.

CHANGE, SPOIL, MEND, REMOVE = (
    "somebody changes {}",
    "somebody applies the bad {} again",
    "somebody puts {} back by hand",
    "somebody deletes {}",
)
_ON_THING = {CHANGE: NEWER, SPOIL: BAD, MEND: GOOD, REMOVE: ""}
_ON_DEPLOYMENT = {words: move for words, move in surroundings.ON_TARGET.items() if words != surroundings.CREATE}
MOVES = (
    *(words.format(name) for name in REFERS for words in _ON_THING),
    *_ON_DEPLOYMENT,
    surroundings.DELETE,
    surroundings.CREATE,
)


def touched(it: Thing, letter: str) -> Thing:
    """What somebody makes of an object: marks of others stay, as with `kubectl apply`, unless it is deleted."""
    if not letter:
        return it._replace(letter="", version=it.version + 1, mark=None, held=False, owned=False, lost=it.put)
    return it._replace(letter=letter, version=it.version + 1, owned=True)


@dataclass
class ConfiguredScene:
    """See `scene.Scene`."""

    kind: str = "Deployment"
    backup: str = "IfAllowed"
    calm: bool = False
    """Pods get well: that they may not is walked elsewhere."""
    alone: bool = False
    """Configuration is all that changed; then the Deployment has one revision."""
    strict: bool = False
    """Also what somebody deleted after it was put back is not put back again: nothing bears witness of that."""

    spec: Object = field(init=False)
    """The request names the policy, not its target."""

    def __post_init__(self) -> None:
        self.spec = {"target": None, "policyRef": {"name": POLICY}, "backup": self.backup}

    def beginning(self) -> Shop:
        only = Deployment(refers=REFERS, letter="a", number=2, history=(Revision("a", 2),))
        return Shop(deployment=only) if self.alone else Shop()

    def patch(self, stack: ExitStack, api: ScriptedApi[Shop]) -> None:
        for module in (together, effects):
            stack.enter_context(mock.patch.object(module, "datetime", Clock(api)))

    def get(self, api: ScriptedApi[Shop], path: str, query: Object) -> Object:
        del query
        name, it = path.rpartition("/")[2], api.view.deployment
        if path.endswith(POLICIES):
            return policy(alone=self.alone)
        lists = {"replicasets": lambda: records(it) if it else (), "pods": lambda: pods(it)}
        if name in lists:
            return {"items": [*lists[name]()], "metadata": {}}
        found = self._object(api.view, path, name)
        if found is None:
            raise errors.NotFound(name)
        return found

    def _object(self, world: Shop, path: str, name: str) -> Object | None:
        if "/configmaps/" in path:
            thing = world.thing(name)
            return config_map(name, thing) if thing.letter else None
        if "/secrets/" in path:
            mine = {"metadata": {"name": name, "labels": {REQUEST_ANNOTATION: UID}}}
            return kept().get(name) or (mine if world.copied else None)
        assert path.endswith(f"/deployments/{cluster.NAME}"), path
        return None if world.deployment is None else document(world.deployment)

    def payload(self, api: ScriptedApi[Shop], verb: str, path: str, body: Any) -> Hashable:
        del api
        return Write(verb, path.rpartition("/")[2], json.dumps(body, sort_keys=True))

    def answer(self, api: ScriptedApi[Shop], verb: str, path: str, body: Any) -> Object:
        del api, verb, path
        return body if isinstance(body, dict) else {}

    def flight(self, payload: Hashable) -> int:
        del payload
        return statuses.IN_FLIGHT

    def landed(self, world: Shop, payload: Hashable, sent: int, asker: Asker) -> Landed[Shop]:
        del sent
        assert isinstance(payload, Write)
        body = json.loads(payload.text)
        if payload.name == "secrets":
            return _copied(world)
        if payload.verb == "POST":
            seen = world._replace(database=world.database._replace(lost=False)) if self.strict else world
            return _made_anew(seen, body, asker)
        return _on_deployment(world, body, asker) if payload.name == cluster.NAME else _on_thing(world, payload, asker)

    # The controller, the pods, people.

    def later(self, world: Shop) -> Shop:
        return world

    def hurries(self, world: Shop) -> bool:
        del world
        return False

    def by_itself(self, world: Shop) -> Iterator[tuple[str, Shop]]:
        for words, deployment in surroundings.by_itself(world.deployment):
            if self.calm and deployment.pods == "failing":
                continue
            yield words, world._replace(deployment=deployment)

    def by_people(self, world: Shop) -> Iterator[tuple[str, Shop]]:
        for words, move in _ON_DEPLOYMENT.items():
            deployment = move(world.deployment)
            if deployment is not None:
                yield words, world._replace(deployment=deployment)
        if world.deployment is not None:
            yield surroundings.DELETE, world._replace(deployment=None)
        else:
            yield surroundings.CREATE, world._replace(deployment=cluster.NEW._replace(refers=REFERS))
        for name in REFERS:
            for words, letter in _ON_THING.items():
                if world.thing(name).letter != letter:
                    yield words.format(name), world.with_thing(name, touched(world.thing(name), letter))

    # What must hold.

    def misjudged(self, view: Shop, status: int) -> str | None:
        if reason(statuses.parsed(status)) != Reason.COMPLETED:
            return None
        return None if all(view.thing(name).letter == GOOD for name in REFERS) else NOT_BACK

    def wrong_end(self, world: Shop, asker: Asker, status: int) -> str | None:
        del asker
        said = statuses.parsed(status)
        if applied(said) == "True" and not world.effects:
            return FALSE_APPLIED
        if said.phase is None or not said.phase.final:
            return None
        if world.effects:
            return DENIED if _denied(world, said) else None
        return FALSE_SUCCESS if reason(said) == Reason.COMPLETED else _of_part(world, said)

    def left(self, world: Shop, asker: Asker) -> str | None:
        del world, asker
        return None


def _denied(world: Shop, said: RequestStatus) -> bool:
    """What bears witness of the effect can be deleted; then the status must not claim to know."""
    witness = world.deployment is not None and world.deployment.uid == world.on
    return applied(said) != "True" if witness else applied(said) == "False"


_NAMED = re.compile(rf"(.*?) (?:was|were) {statuses.PART}")


def _of_part(world: Shop, said: RequestStatus) -> str | None:
    """What an ending without an effect says of the objects, which have to be all that were put back.

    Of one that somebody deleted since, nothing bears witness but the process that put it back.
    """
    put = {name for name in REFERS if world.thing(name).put}
    told, witnessed = _told(said), {name for name in put if not world.thing(name).lost}
    if not witnessed <= told <= put:
        return MISNAMED
    return DENIED if told and reason(said) not in (Reason.PARTLY_MADE, Reason.ABORTED) else None


def _told(said: RequestStatus) -> set[str]:
    """The objects that it says were put back."""
    messages = [condition.message for condition in said.conditions if statuses.PART in condition.message]
    found = {frozenset(re.findall(r"ConfigMap (\w+)", one.group(1))) for m in messages if (one := _NAMED.match(m))}
    assert len(found) <= 1, "all conditions say the same"
    if any("nothing was changed" in message.lower() for message in messages):
        return set()
    return set(next(iter(found), frozenset()))


# What becomes of writes.


def _copied(world: Shop) -> Landed[Shop]:
    if world.copied:
        return Landed("AlreadyExists", world)
    return Landed(OK, world._replace(copied=True))


def _made_anew(world: Shop, body: Object, asker: Asker) -> Landed[Shop]:
    name = body["metadata"]["name"]
    thing = world.thing(name)
    if thing.letter:
        return Landed("AlreadyExists", world)
    body["metadata"]["managedFields"] = [_entry(FIELD_MANAGER)]
    made = _read(body, thing)
    wrong = _of_putting_back(world, name, asker)
    return Landed(OK, world.with_thing(name, made._replace(put=True, lost=False)), wrong)


def _on_thing(world: Shop, write: Write, asker: Asker) -> Landed[Shop]:
    """A patch of an object: puts it back, or gives its fields back."""
    name = write.name
    before = world.thing(name)
    if not before.letter:
        return Landed("NotFound", world)
    body = copy.deepcopy(config_map(name, before))
    if not all(cluster.done(body, operation) for operation in json.loads(write.text)):
        return Landed("Conflict", world)
    after = _read(body, before)
    if (after.letter, after.mark) == (before.letter, before.mark):
        return Landed(OK, world.with_thing(name, after))
    after = after._replace(held=True, put=True)
    return Landed(OK, world.with_thing(name, after), _of_putting_back(world, name, asker))


def _on_deployment(world: Shop, operations: list[Object], asker: Asker) -> Landed[Shop]:
    if world.deployment is None:
        return Landed("NotFound", world)
    after = patched(world.deployment, operations)
    if after is None:
        return Landed("Conflict", world)
    if after.generation == world.deployment.generation:
        return Landed(OK, world._replace(deployment=after))
    made = world._replace(deployment=after, effects=world.effects + 1, on=after.uid)
    return Landed(OK, made, _of_effect(world, after, asker))


def _over(asker: Asker) -> bool:
    phase = statuses.parsed(asker.status).phase
    return not asker.gone and phase is not None and phase.final


def _of_putting_back(world: Shop, name: str, asker: Asker) -> str | None:
    """What is wrong with putting an object back, just now."""
    thing = world.thing(name)
    if thing.put and not thing.lost:
        return PUT_BACK_TWICE
    if asker.gone:
        return None
    planned = _planned(statuses.parsed(asker.status), name)
    rules = {
        UNPLANNED: planned is None,
        OVERWRITTEN: planned is not None and planned.resource_version != _version(thing),
        TOO_LATE: bool(world.effects) and not thing.lost,
        AFTER_END: _over(asker),
        UNCOPIED: _uncopied(world, asker),
    }
    return next((words for words, broken in rules.items() if broken), None)


def _planned(status: RequestStatus, name: str) -> PutBack | None:
    plan = plan_of(status)
    objects = plan.configuration.objects if plan is not None and plan.configuration is not None else ()
    return next((one for one in objects if one.name == name), None)


def _version(thing: Thing) -> str | None:
    return str(thing.version) if thing.letter else None


def _uncopied(world: Shop, asker: Asker) -> bool:
    targets = statuses.parsed(asker.status).targets
    return bool(targets) and targets[0].restore is not None and not world.copied


def _of_effect(world: Shop, after: Deployment, asker: Asker) -> str | None:
    """What is wrong with the effect, just now."""
    if world.effects:
        return TWICE
    if asker.gone:
        return None
    status, before = statuses.parsed(asker.status), world.deployment
    plan = plan_of(status)
    assert before is not None
    if plan is None:
        return UNPLANNED
    expected, to = (identity.template_of(one.fingerprint) for one in (plan.expects, plan.to))
    fits = (plan.uid, expected, plan.expects.revision, to)
    there = (before.uid, print_of(before.letter, REFERS), str(before.number), print_of(after.letter, REFERS))
    rules = {
        ELSEWHERE: before.paused or fits != there,
        TOO_EARLY: any(not world.thing(one.name).back for one in _all_planned(status)),
        AFTER_END: _over(asker) and applied(status) != "True",
        UNCOPIED: _uncopied(world, asker),
    }
    return next((words for words, broken in rules.items() if broken), None)


def _all_planned(status: RequestStatus) -> tuple[PutBack, ...]:
    plan = plan_of(status)
    return plan.configuration.objects if plan is not None and plan.configuration is not None else ()
