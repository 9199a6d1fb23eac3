"""Takes the pictures of docs/tutorials/choice.md: python docs/site_pictures.py.

It runs the tutorial in a temporary folder, and photographs the output of each command and the report in Chromium. The
report's pictures have the front alone, with the card of a plan, in the widths of a desktop and of a phone.
"""

from __future__ import annotations

import contextlib
import html
import io
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from gatesearch.cli import app

ROOT = Path(__file__).parent
TUTORIAL, PICTURES = ROOT / "tutorials" / "choice.py", ROOT / "tutorials" / "choice"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Keys that a picture of a command shows; the others only make the run small.
KEYS = ("recipe", "dry_run", "out", "resume", "objective", "search.trials")
LINE_PX, MARGIN_PX, TERMINAL_PX = 18, 16, 980
TERMINAL = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0;background:#14191d">
<pre style="margin:0;padding:{margin}px;color:#e4e9ed;font:14px/{line}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',
monospace">{text}</pre>"""
# Leaves the front alone on the page, and shows the card of its cheapest plan.
FRONT = """<script>
for (const each of document.querySelectorAll("main > *")) if (each.id !== "front") each.remove();
for (const each of document.querySelectorAll("#front > :not(h2):not(figure)")) each.remove();
document.querySelector("#front .spot").click();
</script></body>"""


def record_commands() -> Iterator[tuple[str, str]]:
    """Run the tutorial in this folder; yield the words and the standard output of each command."""
    outputs: list[tuple[str, str]] = []
    main = app.main

    def run(words: list[str]) -> int:
        target = io.StringIO()
        with contextlib.redirect_stdout(target):
            status = main(words)
        if status:
            sys.exit(f"gatesearch {' '.join(words)}: status {status}")
        own = [word for word in words if "=" not in word or word.partition("=")[0] in KEYS]
        outputs.append((" ".join(["gatesearch", *own]), target.getvalue()))
        return status

    with mock.patch.object(app, "main", run):
        runpy.run_path(str(TUTORIAL))
    yield from outputs


def photograph(page: str, name: str, width: int, height: int, dark: bool = False) -> None:
    """Write a picture of a page in Chromium.

    Args:
        page: the page as HTML.
        name: the name of the picture.
        width, height: the size in pixels.
        dark: whether the browser prefers dark pages.
    """
    with tempfile.TemporaryDirectory() as folder:
        inner, outer = Path(folder) / "inner.html", Path(folder) / "outer.html"
        inner.write_text(page, encoding="utf-8")
        # A window of Chromium is at least 500 pixels wide, and a frame may be narrower.
        outer.write_text(
            f'<body style="margin:0"><iframe src="inner.html" width={width} height={height} style="border:0">'
        )
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        target = PICTURES / f"{name}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", scheme]
        size = [f"--window-size={width},{height}", f"--screenshot={target}"]
        subprocess.run([str(CHROMIUM), *options, *size, outer.as_uri()], check=True, capture_output=True)


def photograph_terminal(name: str, command: str, output: str) -> None:
    """Write a picture of a command and its output."""
    lines = [f"$ {command}", *output.rstrip().splitlines()]
    text = html.escape("\n".join(line[:110] for line in lines))
    page = TERMINAL.format(text=text, margin=MARGIN_PX, line=LINE_PX)
    photograph(page, name, TERMINAL_PX, LINE_PX * len(lines) + 2 * MARGIN_PX)


def main() -> None:
    """Run the tutorial and take all pictures."""
    if CHROMIUM is None:
        sys.exit("no Chromium on this machine")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        outputs = list(record_commands())
        names = ("forecast", None, "extension", "front", "pick", "comparison")
        for name, (command, output) in zip(names, outputs, strict=True):
            if name is not None:
                photograph_terminal(name, command, output)
        report = Path("runs/words/report.html").read_text(encoding="utf-8").replace("</body>", FRONT)
        photograph(report, "report", 1280, 900)
        photograph(report, "report_phone_dark", 390, 760, dark=True)
        photograph(Path("compare.html").read_text(encoding="utf-8"), "comparison_page", 1000, 900)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
