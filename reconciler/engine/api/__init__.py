"""Answers requests of the command socket and of HTTP."""
