"""Encryption keys, and who has them."""


def from_a_kms() -> list[bytes]:
    """What a project's own function would fetch."""
    return [b"a key of a KMS, 32 bytes of it.."]
