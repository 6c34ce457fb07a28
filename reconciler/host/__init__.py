"""What a VM needs from the host before it starts: files, variables, taps, wake-ups."""
