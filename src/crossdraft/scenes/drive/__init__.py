"""A procedural drive: a small world with a road, traffic, weather and light, made from a seed.

Plan (what is where), picture (what a camera sees), voices (what can be said about it).
"""
