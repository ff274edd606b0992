"""Topics into Postgres, exactly once: what the closer and the projector share.

A consumer keeps its offsets in Postgres and moves them in the transaction of the rows themselves, so that rows and
offsets are never apart. Nothing is kept across a failure: whatever went wrong, whether or not a COMMIT arrived, the
next session asks Postgres where it stands and reads on from there.
"""
