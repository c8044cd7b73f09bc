#!/usr/bin/env bash
# Formatting, vet, staticcheck and the shell scripts' syntax:
# scripts/lint.sh [STATICCHECK-MODULE@VERSION].
set -euo pipefail
cd "$(dirname "$0")/.."
staticcheck=${1:-honnef.co/go/tools/cmd/staticcheck@v0.8.2}

unformatted=$(git ls-files '*.go' | xargs -r gofmt -l)
[ -z "$unformatted" ] || { echo "gofmt: $unformatted" >&2; exit 1; }
go vet ./...
go run "$staticcheck" ./...
for f in $(git ls-files '*.sh' .ci/run); do bash -n "$f"; done
bash scripts/formats.sh --check
bash scripts/generate.sh --check
echo "lint: clean"
