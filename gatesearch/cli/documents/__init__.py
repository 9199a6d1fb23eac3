"""The files that gatesearch reads and writes, described for other programs: recipe, device, plan, summary, manifest."""
