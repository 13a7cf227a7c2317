"""Media: what scatters the light between panel and sensor. One interface, four kinds.

=========  ===================================================================================================
kind       matrix
=========  ===================================================================================================
dense      independent complex Gaussian integers, stored; exact in float32
counter    the same matrix, bit for bit, drawn whenever it is needed: memory does not grow with it
diffuser   a cascade of random phase masks and lenses: quasi-linear time, linear memory
measured   from the file of a calibration, rounded to integers; exact in float32
=========  ===================================================================================================
"""

from .counter import Counter
from .dense import Dense
from .diffuser import Cascade, Diffuser, DiffuserMedium
from .interface import EXACT_BELOW, THREADS, ExactMedium, FieldMedium, Medium
from .make import make, memory_needed, refuse_too_large
from .measured import Measured
from .memory import MEMORY_SHARE, refuse

__all__ = [
    "EXACT_BELOW",
    "MEMORY_SHARE",
    "THREADS",
    "Cascade",
    "Counter",
    "Dense",
    "Diffuser",
    "DiffuserMedium",
    "ExactMedium",
    "FieldMedium",
    "Measured",
    "Medium",
    "make",
    "memory_needed",
    "refuse",
    "refuse_too_large",
]
