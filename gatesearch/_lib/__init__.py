"""What has nothing to do with gates: files, figures for people, the console, plug-ins, timing."""
