"""Reinforcement learning: advantages (numpy), losses and the learner (torch). Import the module you need."""
