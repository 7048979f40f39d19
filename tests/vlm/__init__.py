"""Tests of the two ends: sessions, prompts, loading, the cost curve."""
