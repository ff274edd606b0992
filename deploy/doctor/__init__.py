"""`tally doctor`: what a deployment is like, what of that is wrong, and what to do about it.

Each file looks at one thing: it gathers facts, and a pure function finds in them what there is to say. Nothing is
changed; the one thing that is written anywhere is a few empty records to `usage-replies`, to see the brokers' clocks.
"""
