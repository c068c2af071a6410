"""What can be asked: one module per kind, behind the protocol in `base`."""
