"""General helpers that do not depend on gates: files, formatted text, the console, plug-ins, timing."""
