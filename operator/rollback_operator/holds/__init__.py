"""What a rollback holds off until people or Git say otherwise: automated sync of Argo CD, reconciliation by Flux."""
