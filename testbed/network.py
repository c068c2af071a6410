"""The pods' own network on this machine."""

GATEWAY = "10.244.0.1"
