"""Bridges to other libraries, a module for each: only that module imports the library."""
