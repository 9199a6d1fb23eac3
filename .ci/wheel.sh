#!/usr/bin/env bash
# Tests the built wheel as a stranger would install it: its core alone, in a fresh environment, from another folder.
# Usage: .ci/wheel.sh [FOLDER]   FOLDER is for the wheel and the environment; without it a temporary one.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -gt 0 ]; then
    mkdir -p "$1"; work=$(cd "$1" && pwd)
else
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fi
python3 -m venv "$work/core"
python="$work/core/bin/python"
"$python" -m pip wheel -q --no-deps -w "$work/dist" "$here"
wheel=$(ls "$work"/dist/gatesearch-*.whl)
"$python" -m zipfile -l "$wheel" > "$work/files"
for file in gatesearch/py.typed gatesearch/_recipes/kws.yaml gatesearch/_search_spaces/kws_gc.yaml licenses/LICENSE; do
    grep -q "$file" "$work/files" || { echo "the wheel lacks $file"; exit 1; }
done
# The package index takes what twine and check-wheel-contents accept, and shows links only if they are absolute.
python3 -m venv "$work/release"
"$work/release/bin/python" -m pip install -q build==1.6.1 check-wheel-contents==0.6.3 twine==7.0.0
"$work/release/bin/python" -m build -q --sdist -o "$work/dist" "$here"
"$work/release/bin/twine" check --strict "$work"/dist/*
"$work/release/bin/check-wheel-contents" "$wheel"
"$python" -m zipfile -e "$wheel" "$work/unpacked"
relative=$(grep -oE "\]\([^)]*\)" "$work"/unpacked/gatesearch-*.dist-info/METADATA | grep -vE "^\]\((https?:|#)" || true)
[ -z "$relative" ] || { echo "relative links on the page of the package index: $relative"; exit 1; }
"$python" -m pip install -q -c "$here/constraints.txt" "$wheel"
"$python" -m pip check
count=$("$python" -m pip list --format=freeze | grep -cv "^pip=")
echo "the core is $count distributions"
[ "$count" -le 70 ] || { echo "more than 70"; exit 1; }

mkdir -p "$work/elsewhere" && cd "$work/elsewhere"
# -P: the folder of the tests is not on the path.
"$python" -P "$here/tests/installed_core.py"
"$work/core/bin/gatesearch" sites recipe=har_hmd.yaml
# What an extra brings is refused in one line, with exit status 2.
status=0
"$work/core/bin/gatesearch" run recipe=har_hmd.yaml 2> refusal || status=$?
cat refusal
[ "$status" -eq 2 ] && [ "$(wc -l < refusal)" -eq 1 ] && grep -qF "pip install 'gatesearch[export]'" refusal
echo "the wheel's core works"
