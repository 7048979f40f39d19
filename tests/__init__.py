"""Tests mirror the package: tests/<room>/test_<file>.py."""
