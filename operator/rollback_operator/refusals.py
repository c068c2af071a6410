"""What a refusal by the API server means for a request, as a sentence that says who has to do what."""

from __future__ import annotations

import re

from rollback_operator.api.common import TargetRef
from rollback_operator.api.reasons import Reason
from rollback_operator.core.values import Refused
from rollback_operator.kube import errors
from rollback_operator.kube.identity import ServiceAccount

_RIGHTS = re.compile(
    r'is forbidden: User "[^"]*" cannot (?P<verb>\S+) (?:resource "(?P<resource>[^"]+)")?'
    r'(?:[^\n]* in the namespace "(?P<namespace>[^"]+)")?'
)
"""The authorizer's own words (`User "x" cannot patch resource "deployments" ...`); admission plugins use others."""
REMEMBERING = "examples/rbac-remember.yaml"
"""What shows the rights that configuration takes."""
_OF_FLUX = ("kustomizations", "helmreleases", "gitrepositories", "ocirepositories", "helmcharts", "buckets")
_OF_CONFIGURATION = ("configmaps", "secrets", "services", "ingresses")


def example(kind: str, verb: str, resource: str) -> str:
    """The file that shows the right, which rolling back a target of that kind takes."""
    if resource in _OF_FLUX:
        return "examples/rbac-owners.yaml"
    if kind == "Helm":
        return "examples/rbac-helm.yaml"
    if kind == "Application" and resource not in _OF_CONFIGURATION:
        return "examples/rbac-argocd.yaml"
    kept = resource == "secrets" and verb in ("get", "create")  # what a revision needs, and a copy of what is replaced
    if resource in _OF_CONFIGURATION and verb != "get" and not kept:
        return REMEMBERING
    return "examples/rbac.yaml"


def lacks_rights(error: errors.KubeError) -> bool:
    """Whether it is rights that are missing: a quota or an admission plugin answers 403 in other words."""
    return isinstance(error, errors.Forbidden) and _RIGHTS.search(str(error)) is not None


def refusal(error: errors.KubeError, ref: TargetRef, account: ServiceAccount) -> Refused:
    """Why the effect on `ref` was refused: rights of the account, of the operator, or the change itself."""
    said = str(error)
    lacking = _RIGHTS.search(said)
    if not isinstance(error, errors.Forbidden) or lacking is None:
        who = "Helm, or the API server," if ref.kind == "Helm" else "The API server"
        message = (
            f"{who} does not take the change of {ref}; nothing was changed. Remove the cause, then write a new "
            f"request: {said}"
        )
        return Refused(Reason.REJECTED, message)
    if lacking["verb"].startswith("impersonate"):
        return Refused(Reason.FORBIDDEN, own_rights(error))
    shown = example(ref.kind, lacking["verb"], lacking["resource"] or "")
    what, why = f"{ref.kind} {ref.name}", ""
    if lacking["resource"] not in (None, f"{ref.kind.lower()}s"):
        what, why = str(lacking["resource"]), f", and rolling {ref} back takes that"
    namespace = lacking["namespace"] or ref.namespace or account.namespace
    message = (
        f"Service account {account} may not {lacking['verb']} {what} in namespace {namespace}{why}: nothing was "
        f"changed. Give it the rights ({shown} shows which), then write a new request. {said}"
    )
    return Refused(Reason.FORBIDDEN, message)


def unfinished(error: errors.KubeError, ref: TargetRef, account: ServiceAccount) -> Refused:
    """Why what the effect on `ref` left to do was refused: the target is set back, and something is missing."""
    lacking = _RIGHTS.search(str(error))
    if not isinstance(error, errors.Forbidden) or lacking is None:
        message = (
            f"{ref} was set back, and stays so; the API server does not take what is left to do then (giving fields "
            f"back, or deleting pods that are in its way). Do it by hand. {error}"
        )
        return Refused(Reason.REJECTED, message)
    if lacking["verb"].startswith("impersonate"):
        return Refused(Reason.FORBIDDEN, own_rights(error))
    shown = example(ref.kind, lacking["verb"], lacking["resource"] or "")
    namespace = lacking["namespace"] or account.namespace
    message = (
        f"Service account {account} may not {lacking['verb']} {lacking['resource']} in namespace {namespace}, "
        f"which finishing the rollback of {ref} takes: do it by hand, and give it the rights ({shown} shows which). "
        f"{error}"
    )
    return Refused(Reason.FORBIDDEN, message)


def reading_refused(error: errors.Forbidden, ref: TargetRef, account: ServiceAccount) -> Refused:
    """Why `ref`, or what stands for the same, may not be read: rights of the account, or of the operator."""
    if f" as {account}: " in str(error):
        return refusal(error, ref, account)
    return Refused(Reason.FORBIDDEN, own_rights(error))


def not_seen(error: errors.Forbidden, ref: TargetRef, account: ServiceAccount) -> Refused:
    """Why `ref` may not be read any more, after something was perhaps done to it."""
    return Refused(Reason.FORBIDDEN, cannot_look(error, ref, account))


def cannot_look(error: errors.Forbidden, ref: TargetRef, account: ServiceAccount) -> str:
    """Why a policy cannot look at `ref`: rights of its account, or of the operator."""
    lacking = _RIGHTS.search(str(error))
    verb, resource = (lacking["verb"], lacking["resource"] or "") if lacking is not None else ("", "")
    if f" as {account}: " not in str(error) or verb.startswith("impersonate"):
        return own_rights(error, then="")
    shown = example(ref.kind, verb, resource)
    return f"Service account {account} may not look at {ref}. Give it the rights: {shown} shows which. {error}"


def not_made(error: errors.KubeError) -> str:
    """Why a policy's request was not taken: by whoever admits requests, by a quota, or for want of own rights."""
    return f"The request could not be made: {_of_own_request(error)}"


def not_taken_back(error: errors.KubeError, name: str) -> str:
    """Why a policy's request, which waits for people while it should not run any more, goes on waiting."""
    return (
        f"{name}, which was waiting for people, could not be taken back: abort it (abort: true), or it runs when its "
        f"grace is over. {_of_own_request(error)}"
    )


def _of_own_request(error: errors.KubeError) -> str:
    return own_rights(error, then="") if lacks_rights(error) else str(error)


def own_rights(error: errors.KubeError, then: str = ", then write a new request") -> str:
    """The operator itself lacks a right that its deploy/ folder gives it, or one of the components there.

    `then`: what to do after the rights are there.
    """
    if "cannot impersonate-on:" in str(error):
        return (
            "The operator's own rights do not suffice: the component constrained-impersonation lists what it may do as "
            "a service account. For Helm and Argo CD, switch on the component of that kind beside it. Apply the "
            f"deploy/ folder again{then}. {error}"
        )
    return f"The operator's own rights do not suffice: apply its deploy/ folder again{then}. {error}"
