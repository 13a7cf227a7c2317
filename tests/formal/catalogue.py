"""Every proof, in the order of the table."""

import counting
import laser
import stores
import streams
from prover import Proof

PROOFS: list[Proof] = [*laser.PROOFS, *streams.PROOFS, *stores.PROOFS, *counting.PROOFS]
