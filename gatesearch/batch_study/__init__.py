"""The batch-size study: measures how many training steps reach a goal at each batch size, for any recipe.

Command: `gatesearch scaling`.
"""
