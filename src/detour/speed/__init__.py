"""Measure how fast a recipe trains on this device: in total, by part of a step, and against plain loops."""
