"""The door to the API server: identity, retries, errors, and the status of our own resources."""
