"""The study of batch sizes: how the steps to a goal depend on the batch size, for the training of any recipe.

Command: `gatesearch scaling`.
"""
