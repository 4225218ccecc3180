"""Every library, in the order of the page."""

from tests.conformance.clones import CLONES
from tests.conformance.ours import SoftTargets
from tests.conformance.peers import PEERS

LIBRARIES = [SoftTargets, *PEERS, *CLONES]
