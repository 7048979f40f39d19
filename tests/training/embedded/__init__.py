"""Tests of the embedded pair's training."""
