"""Gateware of the open optical processing unit (Amaranth), each block with its NumPy model."""
