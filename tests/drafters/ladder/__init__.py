"""Tests of the adapter ladder."""
