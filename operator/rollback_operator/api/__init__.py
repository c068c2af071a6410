"""The two resources as pydantic models, and the words they share.

The models are the only source: `crds/` is generated from them (`make crds`), and what the operator reads and
writes goes through them.
"""

GROUP = "rollback.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
REQUESTS = "rollbackrequests"
POLICIES = "rollbackpolicies"

REQUEST_ANNOTATION = f"{GROUP}/request"
"""On a target: the uid of the request whose effect it shows. The key that makes an effect happen once."""
GROUP_LABEL = f"{GROUP}/group"
"""On a request: the name of the group that it was made for, as far as a label can hold it; for people to select by."""
WITHDRAWN_ANNOTATION = f"{GROUP}/withdrawn"
"""On a request: its policy aborted it, because nothing was wrong any more."""
