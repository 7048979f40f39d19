"""Running both models of a pair over scenes and questions, into a pair store.

`plan.py` says what is done, `ask.py` does it for one clip, `shard.py` for one shard, `work.py` for
one process and `team.py` for several; `finish.py` makes a store of the shards.
"""
