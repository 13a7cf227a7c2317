"""The host library of the open optical processing unit."""
