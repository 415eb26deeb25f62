"""What people use today beside this service, in one bench: `python -m tests.benchmarks.peers`."""
