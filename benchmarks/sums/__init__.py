"""A small transformer that learns to add by reinforcement, to try curricula on."""
