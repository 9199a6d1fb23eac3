"""How the steps to a goal depend on the batch size, for the training of any recipe: `gatesearch scaling`."""
