"""What a domain file means: from bytes to a frozen Domain, or to all of its errors at once."""
