"""From a recipe to a report: the steps of a run and their order."""
