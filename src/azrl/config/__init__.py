"""Configuration: schema, loading, overrides and errors."""

from azrl.config.dump import to_yaml
from azrl.config.errors import ConfigError
from azrl.config.load import Loaded, load_config
from azrl.config.schema import Config

__all__ = ["Config", "ConfigError", "Loaded", "load_config", "to_yaml"]
