"""What a policy would have done: its questions asked of a Prometheus' past, and judged as the operator judges.

`orders` reads the policy, `past` asks, `releases` tells when the target changed, `replay` plays it all through the
core, `report` and `plot` show what came of it, `cli` is the command. Nothing here talks to a cluster.
"""
