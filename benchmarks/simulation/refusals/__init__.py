"""Refusals of tokens, false and true, decided by the service's own `decide`."""
