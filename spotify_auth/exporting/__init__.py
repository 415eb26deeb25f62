"""The way back: tokens are handed to another keeper, and kept here no longer.

`destination` says what takes them, a module for each; `run` goes through all that are kept here.
"""
