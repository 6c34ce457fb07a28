"""The command line: arguments in, text out, no decisions. One file a group of verbs."""
