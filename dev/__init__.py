"""`make run` and `make test`: everything the service needs, on one fresh machine."""
