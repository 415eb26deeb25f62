"""What the admin's pages of tokens are made of; `admin.py` puts them together."""
