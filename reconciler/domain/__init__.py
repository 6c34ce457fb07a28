"""What a domain file means: values and pure functions, no I/O."""
