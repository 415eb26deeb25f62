"""What people use today beside this service, in one bench."""
