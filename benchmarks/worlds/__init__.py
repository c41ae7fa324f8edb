"""Simulated learners with known dynamics, to try curricula on."""
