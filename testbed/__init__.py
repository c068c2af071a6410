"""A real Kubernetes on one machine: clusters for tests, for the demo and for trying things out.

with Cluster.start() as cluster:
    cluster.kubectl("get", "nodes")
"""

from testbed.binaries import Binaries
from testbed.cluster import Cluster
from testbed.errors import TestbedError

__all__ = ["Binaries", "Cluster", "TestbedError"]
