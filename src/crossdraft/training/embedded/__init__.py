"""embedded: the two small models that are shipped, from sizes and words to trained folders.

Their architectures are the real ones (Video-LLaVA and EventGPT); what they know is the procedural
drive.
"""
