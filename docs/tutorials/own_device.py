"""Describes a device of your own, and shows how its constants change what a gate gains."""

# --8<-- [start:load]
from pathlib import Path

import gatesearch
from gatesearch.cli import app

profile = Path(__file__).parent / "my_board.yaml"
board, part = gatesearch.load_device(str(profile)), gatesearch.load_device("stm32u385")
for device in (part, board):
    print(f"{device.name}: {device.core('m33').floor_mw.value} mW while it listens")
# --8<-- [end:load]
# --8<-- [start:compare]
app.main(["devices", "compare", "stm32u385", str(profile)])  # gatesearch devices compare stm32u385 my_board.yaml
# --8<-- [end:compare]
