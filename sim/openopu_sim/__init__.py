"""Simulation of the open optical processing unit: plant, twin, and the bench around the RTL."""
