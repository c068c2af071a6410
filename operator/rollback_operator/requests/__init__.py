"""Requests at work: `reading` what there is, `acting` on what was decided, `reporting` what came of it.

`worker` puts them together, `groups` does the same for requests with several targets. What is known beside the status
is in `heard`, what watches told in `memory`; both are lost with the process, without harm.
"""
