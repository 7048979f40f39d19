"""scenes: what the sensors saw.

Event streams and their files, video, event frames, clips of recordings, datasets of scenes.
Nothing here knows a model.
"""
