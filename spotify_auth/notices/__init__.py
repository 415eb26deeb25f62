"""Telling others what changed: one row for each change of state, signals, webhooks.

A notice is a row that is written in the transaction of its change, so that a process that is
killed loses none. Routine refreshes write no notice.
"""
