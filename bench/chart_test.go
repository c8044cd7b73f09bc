package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestChartIsXMLWithABarForEachRival(t *testing.T) {
	svg := sample().chart()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	for _, want := range []string{"j, loop-direct: 2.00 (2.00 to 2.00)", "j, nbdkit-file: 1.00 (1.00 to 2.00)", `class="goal"`, "prefers-color-scheme:dark"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in\n%s", want, svg)
		}
	}
	if n := strings.Count(svg, "<title>"); n != 2 {
		t.Errorf("%d bars, want 2", n)
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(svg, bad) {
			t.Errorf("%s in\n%s", bad, svg)
		}
	}
}

// Any figure, also a senseless one, ends in a chart of finite size.
func TestChartRangeIsFinite(t *testing.T) {
	for _, v := range []float64{0, 1e-9, 1, 1e9, math.Inf(1), math.NaN()} {
		r := &results{Cells: []*cell{{Low: v, High: v}}}
		if lo, hi := r.chartRange(); lo < 1.0/64 || hi > 64 || lo > 0.5 || hi < 2 {
			t.Errorf("%v: %v to %v", v, lo, hi)
		}
	}
}
