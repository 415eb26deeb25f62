"""The WRITE side: background lanes keep every token fresh. Only background work may import it.

refresher     claim, ask, decide, store: the main path
lanes         how many loops run, and the loop
claims        take the most urgent due token and its row lock
transaction   BEGIN travels with the claim, COMMIT with the write
plans         the statements of a routine refresh as functions, whose plans PostgreSQL keeps
attempts      marks in Redis, and grants saved there; permission for each exchange
history       what recent events say about Spotify
decisions     an answer becomes a decision: pure
store         a decision becomes one SQL statement
memory_limit  end a worker that has grown too large
process       what the lanes of one process share
"""
