"""Encoder pretraining with a causal detour, as chains of jobs: planned, priced, submitted once, carried."""
