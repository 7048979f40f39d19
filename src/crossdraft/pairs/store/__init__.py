"""The pair store: what both models said and thought, in flat shards that are read by slice."""

from crossdraft.pairs.store.store import PairStore

__all__ = ["PairStore"]
