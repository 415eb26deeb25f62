"""Tokens that another library, or a table of a project's own, has kept: each is moved here once.

`sources` finds them, a module for each place; `ranking` takes a user's newest of several rows;
`moving` moves one, `canary` tries the first five, `run` goes through all of them, `report` says
what came of it.
"""
