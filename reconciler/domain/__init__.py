"""The meaning of domain files: from bytes to a frozen Domain, or to all of its errors at once."""
