"""EventGPT, native: parity with the official classes, prompts, checkpoints."""
