"""Tests of the drafter `crossmodal`."""
