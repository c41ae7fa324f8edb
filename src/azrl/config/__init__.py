"""Configuration: schema, loading, overrides and errors."""

from azrl.config.schema import Config

__all__ = ["Config"]
