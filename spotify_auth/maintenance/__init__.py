"""What an operator does to all tokens at once; `manage.py tokens` is its door."""
