"""The operations page of the admin: is anybody about to lose access, why, since when, what to do.

`looking` asks PostgreSQL and Redis, a dozen short questions. `verdict`, `figures` and `charts` are
pure: they say and draw what was found. `pages` has the views, and `admin.py` registers them.
"""
