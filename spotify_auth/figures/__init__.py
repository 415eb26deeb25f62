"""Figures for operators: what happened, how fresh the tokens are, what goes on at this moment.

Three sources, none of which grows dear with the number of tokens or events:

*   `roll_up` counts the history into small tables, a few seconds behind it.
*   `samples` keeps one line a minute of `spotify_auth.freshness`, for the objective.
*   `traffic` asks Redis what all workers are doing.

`summary.look()` gathers what a page or a monitoring system wants to know at once.
"""
