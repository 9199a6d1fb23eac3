"""From a model to a bundle: one artifact a stage, core and format, the manifest, and the check against the model."""
