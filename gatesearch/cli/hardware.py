"""Commands that look at a backbone and a device: ``sites``, ``devices`` and ``measure``."""

from __future__ import annotations

from pathlib import Path

from gatesearch.cli.arguments import AsJson, DeviceNames, Settings, load_recipe, read_positive, refuse_rest, take
from gatesearch.errors import UserError

COMPARE = "compare"  # first word of `devices` that compares two devices


def sites(settings: Settings = None, as_json: AsJson = False) -> None:
    """Print where gates can go in the recipe's backbone."""
    recipe = load_recipe("sites", settings or [])
    from gatesearch.cli import tables

    tables.sites(recipe, as_json)


def devices(names: DeviceNames = None, as_json: AsJson = False) -> None:
    """List devices, show one, or compare two.

    devices NAME prints each constant of a device with its provenance, the age of its source, and the source. devices
    compare A B prints the constants in which two devices differ. A name may be the path of a YAML file.
    """
    words = list(names or [])
    from gatesearch.cli import device_tables

    if words[:1] == [COMPARE]:
        if len(words) != 3:
            number = "1 name" if len(words) == 2 else f"{len(words) - 1} names"
            raise UserError(f"devices compare: {number}, not two; write: devices compare A B")
        device_tables.compare_devices(words[1:], as_json)
    elif len(words) > 1:
        raise UserError(f"devices: {' '.join(words)}: more than one name; to compare two: devices compare A B")
    elif words:
        device_tables.show_device(words[0], as_json)
    else:
        device_tables.list_devices(as_json)


def measure(settings: Settings = None, as_json: AsJson = False) -> None:
    """Print the times of blocks and kernels on each core.

    core=NAME prints one core alone. The other keys make latency tables of boards. kit=DIR writes a folder of C sources
    that time kernels on a board; recipe=NAME adds the layers of a recipe. import=FILE reads the lines that the board
    printed; name=, kit=, clock_mhz=, device= and core= describe the board. board=NAME counts the instructions of an
    emulated board.
    """
    words = list(settings or [])
    source, kit, board = (take(words, key) for key in ("import", "kit", "board"))
    if source is not None:
        _import_kit(Path(source), Path(kit) if kit else None, words)
    elif kit is not None:
        _write_kit(Path(kit), words)
    elif board is not None:
        refuse_rest("measure", words, [])
        from gatesearch.cli.kits import count_board

        count_board(board)
    else:
        core = take(words, "core")
        recipe = load_recipe("measure", words)
        from gatesearch.cli import tables

        tables.measure(recipe, core, as_json)


def _import_kit(source: Path, kit: Path | None, words: list[str]) -> None:
    keys = ("name", "device", "core", "clock_mhz")
    name, device, core, clock = (take(words, key) for key in keys)
    refuse_rest("measure", words, [*keys, "kit"])
    clock_mhz = None if clock is None else read_positive("clock_mhz", clock)
    from gatesearch.cli.kit_import import import_kit

    import_kit(source, name or "my_core", kit, device or "host", core, clock_mhz)


def _write_kit(folder: Path, words: list[str]) -> None:
    recipe = None
    if any(word.startswith("recipe=") for word in words):
        recipe = load_recipe("measure", words)
    else:
        refuse_rest("measure", words, ["recipe"])
    from gatesearch.cli.kits import write_kit

    write_kit(folder, recipe)
