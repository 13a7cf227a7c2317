"""Every proof, in the order of the table."""

import laser
import streams
from prover import Proof

PROOFS: list[Proof] = [*laser.PROOFS, *streams.PROOFS]
