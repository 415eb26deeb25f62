"""The Django application that Authlib's documentation asks its users to write."""
