"""azrl: self-play reinforcement learning that teaches a language model to reason with no data."""

__version__ = "0.1.0"
