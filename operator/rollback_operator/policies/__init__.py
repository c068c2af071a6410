"""Policies at work: `asking` what triggers ask, `looking` at the whole and writing the status, `making` requests.

`worker` puts them together. An evaluation asks and folds; only when something changed, or something might have to be
done, the policy is looked at as a whole: target, requests, ledger. So an idle policy costs its questions, and no call
to the API server.
"""
