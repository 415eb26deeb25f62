"""`manage.py doctor`: what an operator asks first, and what to do about each answer.

findings       what a check finds: ok, a warning or a problem, and what to do
examination    which checks there are; each is bounded in time, and none stops another
project        settings, Django's system checks, the redirect URI, how the site is deployed
database       PostgreSQL: version, primary or standby, connections, pooler, clock, migrations
rights         what the role of PostgreSQL may do with the tables
redis_server   Redis: version, primary or replica, what it throws away, what it keeps, our rights
background     queues, workers and beats, sweeps, pauses, fresh tokens
stored_keys    stored values and the keys that open them
spotify        client credentials and Spotify's clock
redaction      keeps secrets out of all that is said

Nothing here changes anything. Only the management command imports this package: a check may ask
the token endpoint, and a request never does.
"""
