"""Users of another kind: known by their e-mail address, with UUIDs for keys."""
