"""The project of examples/music_site, with other users, and tokens that live for seconds."""
