"""The command line: arguments in, text out, no decisions. One file for each group of verbs."""
