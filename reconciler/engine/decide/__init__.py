"""Every decision about a domain, as pure functions: no I/O, no clock, no randomness."""
