package blockdev

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// sectorOp is what a request does to one sector.
type sectorOp struct {
	disk, sector int
	write        bool
	value        uint64 // written; no two writes but zeros are equal
	unsure       bool   // a write without an answer: it happened before its end, or never
}

// sectorModel is a register for each sector. The outcome of a read is its value.
var sectorModel = porcupine.NondeterministicModel{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		type key struct{ disk, sector int }
		parts := map[key][]porcupine.Operation{}
		for _, o := range all {
			in := o.Input.(sectorOp)
			k := key{in.disk, in.sector}
			parts[k] = append(parts[k], o)
		}
		var out [][]porcupine.Operation
		for _, p := range parts {
			out = append(out, p)
		}
		return out
	},
	Init: func() []any { return []any{uint64(0)} },
	Step: func(state, input, output any) []any {
		switch in := input.(sectorOp); {
		case in.write && in.unsure:
			return []any{state, in.value}
		case in.write:
			return []any{in.value}
		case state == output:
			return []any{state}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string {
		in := input.(sectorOp)
		if in.write {
			return fmt.Sprintf("d%d[%d] <- %d unsure %v", in.disk+1, in.sector, in.value, in.unsure)
		}
		return fmt.Sprintf("d%d[%d] -> %v", in.disk+1, in.sector, output)
	},
}

// judgeHistory tells whether the history can be explained by an order of its
// operations, for each sector, in which each lies between its call and its answer.
func judgeHistory(t *testing.T, ops []porcupine.Operation, draw bool) porcupine.CheckResult {
	t.Helper()
	model := sectorModel.ToModel()
	result, info := porcupine.CheckOperationsVerbose(model, decide(ops), 2*time.Minute)
	if draw && result == porcupine.Illegal {
		path := filepath.Join(t.ArtifactDir(), "history.html")
		if err := porcupine.VisualizePath(model, info, path); err == nil {
			t.Logf("the history is drawn in %s; go test -artifacts keeps it", path)
		}
	}
	return result
}

// decide leaves out unanswered writes that nobody saw: such a write may as well
// never have happened, since each value is written once. One that was seen did
// happen. So the search need not try both for thousands of them. Zeros are
// written often, and stay as they are.
func decide(ops []porcupine.Operation) []porcupine.Operation {
	type content struct {
		disk, sector int
		value        uint64
	}
	seen := map[content]bool{}
	for _, o := range ops {
		if in := o.Input.(sectorOp); !in.write {
			seen[content{in.disk, in.sector, o.Output.(uint64)}] = true
		}
	}
	var out []porcupine.Operation
	for _, o := range ops {
		in := o.Input.(sectorOp)
		if in.unsure && in.value != 0 {
			if !seen[content{in.disk, in.sector, in.value}] {
				continue
			}
			in.unsure = false
			o.Input = in
		}
		out = append(out, o)
	}
	return out
}

// TestHistoryJudge shows what the judge of TestLinearizable accepts and refuses.
func TestHistoryJudge(t *testing.T) {
	read := func(call, end int64, v uint64) porcupine.Operation {
		return porcupine.Operation{Input: sectorOp{}, Call: call, Return: end, Output: v}
	}
	write := func(call, end int64, v uint64, unsure bool) porcupine.Operation {
		return porcupine.Operation{Input: sectorOp{write: true, value: v, unsure: unsure}, Call: call, Return: end}
	}
	for name, tc := range map[string]struct {
		ops  []porcupine.Operation
		want porcupine.CheckResult
	}{
		"read of what was acknowledged":     {[]porcupine.Operation{write(0, 1, 7, false), read(2, 3, 7)}, porcupine.Ok},
		"stale read":                        {[]porcupine.Operation{write(0, 1, 7, false), read(2, 3, 0)}, porcupine.Illegal},
		"read beside the write":             {[]porcupine.Operation{write(0, 5, 7, false), read(1, 2, 7), read(3, 4, 7)}, porcupine.Ok},
		"new, then old":                     {[]porcupine.Operation{write(0, 5, 7, false), read(1, 2, 7), read(3, 4, 0)}, porcupine.Illegal},
		"unanswered write happened":         {[]porcupine.Operation{write(0, 5, 7, true), read(6, 7, 7)}, porcupine.Ok},
		"unanswered write never happened":   {[]porcupine.Operation{write(0, 5, 7, true), read(6, 7, 0)}, porcupine.Ok},
		"unanswered write, seen, then lost": {[]porcupine.Operation{write(0, 5, 7, true), read(1, 2, 7), read(6, 7, 0)}, porcupine.Illegal},
		"unanswered write comes later":      {[]porcupine.Operation{write(0, 5, 7, true), read(6, 7, 0), read(8, 9, 7)}, porcupine.Illegal},
	} {
		if got := judgeHistory(t, tc.ops, false); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
