#!/usr/bin/env bash
# Generates admin/v1 from admin/v1/*.proto. Compiler and plugins are Go
# modules, pinned in scripts/protogen/go.mod: nothing but Go is needed.
#   scripts/generate.sh          write the code
#   scripts/generate.sh --check  fail if the committed code is not what the schema gives
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT

(
	cd scripts/protogen
	GOWORK=off GOBIN=$bin go install . \
		google.golang.org/protobuf/cmd/protoc-gen-go \
		connectrpc.com/connect/cmd/protoc-gen-connect-go
)

out=$root
if [ "${1:-}" = --check ]; then
	out=$bin/out
	mkdir -p "$out/admin/v1"
	cp admin/v1/*.proto "$out/admin/v1/"
fi
"$bin/protogen" -I "$out" \
	-plugin "$bin/protoc-gen-go" \
	-plugin "$bin/protoc-gen-connect-go,simple" \
	admin/v1/*.proto
if [ "$out" != "$root" ]; then
	diff -r "$out/admin/v1" admin/v1 || { echo "generated code is out of date: run scripts/generate.sh" >&2; exit 1; }
fi
