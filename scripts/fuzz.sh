#!/usr/bin/env bash
# Runs each fuzz target of the tree for a short time: scripts/fuzz.sh [TIME].
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
n=0
while IFS=: read -r file target; do
	dir=./$(dirname "$file")
	echo "fuzz $dir $target $time"
	# Minimising an interesting input may take the whole time; it is no finding.
	if ! out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1s "$dir" 2>&1); then
		# The go command sometimes takes the end of the time for a failure; a real one leaves an input.
		if grep -q 'Failing input written' <<<"$out" || ! grep -q 'context deadline exceeded' <<<"$out"; then
			echo "$out" >&2
			exit 1
		fi
	fi
	n=$((n + 1))
done < <(git ls-files '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort)
echo "fuzz: $n targets"
