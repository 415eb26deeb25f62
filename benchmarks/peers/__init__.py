"""Other packages and this service under the same load."""
