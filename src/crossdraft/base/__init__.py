"""base: what every other room needs.

Errors with exit codes, atomic files, safe loading, the clock, results and run folders, draft
trees, progress events. Imports nothing from the other rooms and stays light on dependencies.
"""
