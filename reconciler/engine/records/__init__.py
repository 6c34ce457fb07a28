"""What is kept of each domain on disk."""
