"""Users: who they are, logging in and out by a Spotify account, and the pages they see."""
