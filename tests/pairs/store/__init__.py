"""Tests of the pair store."""
