"""Webhooks by the Standard Webhooks convention (https://www.standardwebhooks.com).

A notice is handed out to each address that wants its kind: a delivery, which is a row. A sweep
finds what is due, and tasks send it, each under the row lock of its delivery.
"""
