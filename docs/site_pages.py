"""Hook of MkDocs: adds pages and files that lie outside docs/ to the site, and turns links between them.

In the repository, a link from docs/limits.md to results/kws/README.md begins with ``../``. In the site, docs/ is the
root and results/ lies in it, so such a link loses the part ``../``. A link to a file that the site does not have leads
to the file in the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "results/README.md",
    "results/*/README.md",
    "results/*/*.png",
)
# A link or a picture: text, target, and a mark in the target. Code is not searched, because CODE matches it first.
CODE = r"(?:^```.*?^```$|^(?: {4}|\t).*?$|`[^`\n]+`)"
LINK = re.compile(rf"{CODE}|(?P<head>\]\()(?P<target>[^)\s#:]+)(?P<mark>#[^)\s]*)?\)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the page of each benchmark below the page of all results."""
    [section] = [entry["Results"] for entry in config.nav or () if "Results" in entry]
    pages = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("results/*/README.md"))
    section[1:1] = [{page.split("/")[1].replace("_", " "): page} for page in pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that lie outside docs/."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            place = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page."""
    place = page.file.src_uri
    own = "" if (ROOT / place).is_file() else "docs/"
    known = {file.src_uri for file in files}
    return turn_links(markdown, own + place, known, f"{config.repo_url}/blob/main")


def turn_links(markdown: str, place: str, known: set[str], repository: str) -> str:
    """Return a page with links that hold in the site.

    Args:
        markdown: the text of the page.
        place: the path of the page in the repository.
        known: the paths of all files in the site.
        repository: the address of the repository's files, for files that the site does not have.
    """

    folder = posixpath.dirname(place.removeprefix("docs/")) or "."

    def turn(match: re.Match[str]) -> str:
        if match["head"] is None:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), match["target"]))
        in_site = target.removeprefix("docs/")
        if in_site in known:
            return f"]({posixpath.relpath(in_site, folder)}{match['mark'] or ''})"
        if (ROOT / target).exists():
            return f"]({repository}/{target})"
        return match[0]

    return LINK.sub(turn, markdown)
