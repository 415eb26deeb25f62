"""The commands behind `make`: they start everything that the service needs on one machine."""
