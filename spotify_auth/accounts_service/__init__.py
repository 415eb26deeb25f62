"""Spotify's Accounts service over HTTP. Knows no Django models.

authorization   the address a login begins at, PKCE, code -> Grant
refreshing      refresh token -> Grant; only background lanes may import it
token_endpoint  one POST: an answer becomes a Grant or a typed error
grant, errors   what comes out
"""
