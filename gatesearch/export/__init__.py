"""Export: one artifact a stage and core, the manifest, the host loop that runs a bundle, and its verification."""
