"""A strict, fast local stand-in for Spotify, for demonstrations and tests.

It speaks the wire format of the Accounts service (`/authorize`, `/api/token`) and of
the part of the Web API that a dashboard needs (`/v1/me...`), and can be told to
misbehave (`/__faults`). All state is in memory. It imports nothing of this project
outside its own package, so that it shares no mistake with what it tests.
"""
