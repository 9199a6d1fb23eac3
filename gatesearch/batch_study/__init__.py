"""The batch-size study: how the steps to a goal depend on the batch size, for any recipe's training.

Command: `gatesearch scaling`.
"""
