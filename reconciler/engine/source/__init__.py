"""From a source's files to the definitions of domains."""
