"""What holds of Spotify, and need not hold of another provider: each assumption is a line here.

docs/explanation/other-providers.md goes through them. Where no source is named it is RFC 6749,
of which Spotify implements a part.
"""

from base64 import b64encode

AUTHORIZE_PATH = "/authorize"
"""Where a login begins, below SPOTIFY_ACCOUNTS_URL. There is no discovery document.
https://developer.spotify.com/documentation/web-api/tutorials/code-pkce-flow"""
TOKEN_PATH = "/api/token"  # noqa: S105  (a path)
"""Where codes and refresh tokens are traded, below SPOTIFY_ACCOUNTS_URL. (The same source.)"""
CODE_CHALLENGE_METHOD = "S256"
"""PKCE beside the client's secret: Spotify takes both, and "plain" is no protection."""
ASK_AGAIN = "show_dialog"
"""The parameter that lets Spotify ask a user who has approved before; elsewhere it is OpenID's
`prompt`. https://developer.spotify.com/documentation/web-api/tutorials/code-flow"""
SCOPE_SEPARATOR = " "
"""Between the names of scopes, asked for and granted. Some providers write commas."""

REFUSED = (400, "invalid_grant")
"""The status and the `error` of a code or a refresh token that is not accepted (section 5.2).
Spotify has also answered so to nearly everybody, in an outage: one refusal is not believed."""
LONGEST_LIFETIME_SECONDS = 24 * 3600
"""Of an access token. Spotify's live for an hour; what claims to live longer is a fault."""
GRANT_LASTS = "6 months"
"""After the approval, refreshed or not, the refresh token dies: an interval of PostgreSQL's.
https://developer.spotify.com/documentation/web-api/tutorials/refreshing-tokens"""

API_VERSION_PATH = "/v1"
"""Before each path of the Web API, below SPOTIFY_API_URL."""
PROFILE_PATH = "/me"
"""The resource of the Web API that says whose an access token is: there is no ID token."""
ACCOUNT_ID = "account_id"
"""Its field that never changes, nor passes to another user. `id` is a name, and may change.
https://developer.spotify.com/documentation/web-api/concepts/spotify-uris-ids"""
DISPLAY_NAME = "display_name"
"""Its field with a name to show."""


def client_authorization(client_id: str, client_secret: str) -> str:
    """The header that tells the token endpoint who asks: HTTP Basic of both as they are.

    Section 2.3.1 wants them form-encoded before; of Spotify's, which are hexadecimal, that
    changes nothing. Some providers take them in the body only.
    """
    return f"Basic {b64encode(f'{client_id}:{client_secret}'.encode()).decode()}"


def scopes_of(scope: str) -> frozenset[str]:
    """The names in a text of scopes; none in a blank one."""
    return frozenset(filter(None, scope.split(SCOPE_SEPARATOR)))
