"""What became of each revision of the source."""
