"""Measured time: what a verification pass costs on this machine."""
