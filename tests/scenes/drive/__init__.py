"""Tests of the procedural drive."""
