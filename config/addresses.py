"""IP addresses as a URL writes them."""


def bracketed(host: str) -> str:
    """A host name or address; IPv6 in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
