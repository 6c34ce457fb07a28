"""A StratoVirt stand-in that is a real process."""
