"""Spotify's Accounts service over HTTP. Knows no Django models.

spotify         what holds of Spotify and of no other provider, a line each
authorization   the address a login begins at, PKCE, code -> Grant
refreshing      refresh token -> Answer; only background lanes may import it
client_credentials  a token for nobody; only the command `doctor` may import it
token_endpoint  one POST, and what it is answered
answers         what the token endpoint can answer
grant           what a successful answer gives
errors          the same answers as exceptions, for the login callback
"""
