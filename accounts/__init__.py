"""The person: who they are, logging in and out, and the pages they see."""
