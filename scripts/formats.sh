#!/usr/bin/env bash
# Renews the list in docs/FORMATS.md from the files in docs/formats; with
# --check it fails if the list is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."
new=$(mktemp)
trap 'rm -f "$new"' EXIT
sed '/^- /d' docs/FORMATS.md >"$new"
for f in docs/formats/*.md; do
	printf -- '- [%s](formats/%s)\n' "$(sed -n '1s/^# *//p' "$f")" "$(basename "$f")" >>"$new"
done
if [ "${1:-}" = --check ]; then
	diff -u docs/FORMATS.md "$new" || { echo "docs/FORMATS.md is out of date: run scripts/formats.sh" >&2; exit 1; }
else
	cp "$new" docs/FORMATS.md
fi
