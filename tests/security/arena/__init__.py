"""Runs hostile programs in a real executor and judges from outside whether one of them got anything."""
