"""Where the history (`TokenEvent`) lies, how long which part of it is kept, and who reads it whole.

Three tables, of which the second and the third inherit from the first: whoever reads, or deletes
from, `spotify_auth_tokenevent` meets them all.

*   `spotify_auth_tokenevent`: what a person or an auditor asks for, TOKEN_EVENT_RETENTION_DAYS.
*   `spotify_auth_routineevent`: routine successes, a row each, until they are folded: 6 to 12 h.
*   `spotify_auth_foldedevent`: a row for each user and day of them, ROUTINE_EVENT_RETENTION_DAYS.
"""
