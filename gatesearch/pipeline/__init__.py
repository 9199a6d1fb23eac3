"""The pipeline: the steps of a run, from a recipe to a report, and their order."""
