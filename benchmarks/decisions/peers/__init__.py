"""How others decide, re-expressed from their sources; each line of a rule names the line it is taken from.

They watch a release while it rolls out: from the moment it comes until their analysis has passed. To be fair, the
whole target is asked about as if it were the canary, each answer is the same that ours gets, and the time that a
rollout may take is as long as our rule watches. Each stands in the table three times: as its documented defaults are;
adapted, with every setting of its own turned so that it asks for what our rule asks for; and adapted with a guarded
query, which answers zero where there is nothing, no number or too little to judge by, as an experienced author would
write it.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.decisions.evaluator import Evaluator
from benchmarks.decisions.peers.argo_rollouts import ArgoRollouts
from benchmarks.decisions.peers.base import Analyst, Guarded, Peer, adapted
from benchmarks.decisions.peers.flagger import Flagger
from benchmarks.decisions.peers.helmwave import Helmwave

KINDS: Sequence[type[Peer]] = (Flagger, ArgoRollouts, Helmwave)


def by_default() -> list[Evaluator]:
    """Each as it is documented to be when nothing is set."""
    return [adapted(kind, by_default=True) for kind in KINDS]


def turned_to_our_rule() -> list[Analyst]:
    """Each with its own settings turned so that it asks for what our rule asks for."""
    return [adapted(kind) for kind in KINDS]


def with_guarded_queries() -> list[Evaluator]:
    """The same, with a query that hides what is missing."""
    return [Guarded(one) for one in turned_to_our_rule()]
