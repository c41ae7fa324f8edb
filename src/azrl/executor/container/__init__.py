"""Runs the guest runtime in one hardened Docker container, behind one attached stream."""
