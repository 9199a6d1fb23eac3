"""General helpers that know nothing of gates: files, text for people, the console, plug-ins, timing."""
