"""The commands, a file a subject: parse, call, print; no logic."""
