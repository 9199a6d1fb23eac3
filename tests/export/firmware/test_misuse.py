"""Firmware survives wrong calls, long streams, odd names of classes and odd folders."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.export.firmware import Firmware, write_firmware
from gatesearch.export.firmware.c_names import macro_names, string
from gatesearch.export.firmware.check import check_firmware

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wtrigraphs", "-O1")
EXACT = ("-ffp-contract=off", "-fno-math-errno")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
NAMES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "*/", "??/", "a b", "a_b", "A_B_0", "a_b_1", "%s", '"', "\\", "a\nb", "\udc80", "ß", "1"]),
)


def run(command: list[str], folder: Path) -> bytes:
    done = subprocess.run(command, cwd=folder, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout


@pytest.mark.parametrize("compiler", COMPILERS)
def test_wrong_calls_and_years_of_sound_change_no_decision(small_firmware: Firmware, compiler: str, tmp_path: Path):
    paths = ["-Iinclude", "-Isrc", "-Ikernels", "-Itest"]
    own = [str(Path(__file__).with_name(name)) for name in ("misuse.c", "aged_library.c")]
    sources = [*own, "src/gs_plan.c", "src/kernels.c"]
    program = str(tmp_path / "misuse")
    sanitizers = SANITIZERS if compiler == "gcc" else ()
    run([compiler, *FLAGS, *EXACT, *sanitizers, *paths, *sources, "-o", program], small_firmware.folder)
    assert run([program], tmp_path) == b"PASS\n"


@pytest.mark.skipif(not COMPILERS, reason="needs a C compiler")
@settings(max_examples=10, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=100))
def test_any_names_of_classes_are_strings_and_macros_of_c(names: list[str], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("names")
    macros = [f"GS_CLASS_{name}" for name in macro_names(names)]
    lines = ["#include <stdio.h>", *(f"#define {macro} {k}" for k, macro in enumerate(macros))]
    lines += [f"static const char *const labels[] = {{{', '.join(map(string, names))}}};", "int main(void) {"]
    lines += [f"  if ({macro} != {k}) return 1;" for k, macro in enumerate(macros)]
    lines += [f"  for (int i = 0; i < {len(names)}; i++) fwrite(labels[i], 1, sizes[i], stdout);", "  return 0;", "}"]
    contents = [name.encode("utf-8", "surrogatepass") for name in names]
    lines.insert(1, f"static const size_t sizes[] = {{{', '.join(str(len(each)) for each in contents)}}};")
    (folder / "names.c").write_text("\n".join(lines) + "\n")
    run([COMPILERS[0], *FLAGS, "names.c", "-o", "names"], folder)
    assert run(["./names"], folder) == b"".join(contents)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_classes_with_hostile_names_are_detected_alike(small_firmware: Firmware, compiler: str, tmp_path: Path):
    bundle = Path(shutil.copytree(small_firmware.folder.parent / "bundle", tmp_path / "a $(b) 'c' bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    odd = ["*/ #error", 'a"\n??/', "ünï code\t", "%s%n\\", "\N{SNOWMAN}"]
    new = dict(zip(manifest["classes"], odd, strict=False))
    for entry in (manifest, manifest["detector"]):
        entry["classes"] = [new.get(name, name) for name in entry["classes"]]
    manifest["detector"]["positives"] = [new.get(name, name) for name in manifest["detector"]["positives"]]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    firmware = write_firmware(bundle, tmp_path / "an odd # folder" / "fw")
    assert run(["make", "-s", "check", f"CC={compiler}"], firmware.folder).startswith(b"PASS")


def test_the_header_of_another_plan_does_not_compile(small_firmware: Firmware, tmp_path: Path):
    copy = Path(shutil.copytree(small_firmware.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("build")))
    header = (copy / "src" / "gs_plan.h").read_text()
    key = header.partition("GS_PLAN_KEY 0x")[2][:8]
    (copy / "src" / "gs_plan.h").write_text(header.replace(key, "00000000"))
    with pytest.raises(UserError, match=r"gs_plan\.h and gs_plan\.c are of different plans"):
        check_firmware(copy)


def test_a_folder_with_other_files_is_not_replaced(small_firmware: Firmware, tmp_path: Path):
    bundle, folder = small_firmware.folder.parent / "bundle", tmp_path / "mine"
    shutil.copytree(small_firmware.folder, folder)
    (folder / "src" / "main.c").write_text("int main(void) { return 0; }")
    with pytest.raises(UserError, match=r"would be replaced, and holds src/main.c; name a new or an empty folder"):
        write_firmware(bundle, folder)
    assert (folder / "src" / "main.c").exists()
    (folder / "src" / "main.c").unlink()
    assert write_firmware(bundle, folder).hops  # nothing but firmware, and what make built
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; wanted: a folder"):
        write_firmware(bundle, tmp_path / "file")
