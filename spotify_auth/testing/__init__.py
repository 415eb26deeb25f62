"""For the tests of projects that use this app: docs/how-to/test-your-project.md.

plugin      pytest's fixtures; imports nothing until one is used
sandbox     a strict stand-in for Spotify, as a process of its own
refreshing  what a worker does, in the process of a test
state       what a process, and Redis, remember of earlier tests
"""
