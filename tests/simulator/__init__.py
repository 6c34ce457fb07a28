"""Tests of the simulator; with STRATOVIRT_REAL the conformance tests run on a real one too."""
