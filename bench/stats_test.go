package main

import (
	"math"
	"testing"
)

// The p values are what tables of U and the textbook formula give.
func TestMannWhitneyAgainstTables(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"apart 5+5", []float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2.0 / 252},
		{"apart 3+3", []float64{1, 2, 3}, []float64{4, 5, 6}, 0.1},
		{"mixed 3+3", []float64{1, 3, 5}, []float64{2, 4, 6}, 0.7},
		{"mirror", []float64{2, 4, 6}, []float64{1, 3, 5}, 0.7},
		{"all equal", []float64{5, 5, 5}, []float64{5, 5, 5}, 1},
		{"ties", []float64{1, 2, 2, 3, 4}, []float64{3, 4, 5, 5, 6}, 0.03447},
		{"nothing", nil, []float64{1}, 1},
	} {
		if got := mannWhitney(c.a, c.b); math.Abs(got-c.want) > 2e-4 {
			t.Errorf("%s: p = %.5f, want %.5f", c.name, got, c.want)
		}
	}
}

// The counts add up to the number of orders, and are a mirror image of themselves.
func TestCountUIsADistribution(t *testing.T) {
	w := countU(6, 4)
	var all float64
	for i, v := range w {
		all += v
		if v != w[len(w)-1-i] {
			t.Errorf("U=%d: %v, its mirror %v", i, v, w[len(w)-1-i])
		}
	}
	if len(w) != 25 || all != 210 {
		t.Errorf("%d counts with sum %v, want 25 and 210", len(w), all)
	}
}

func TestPercentileAndSpread(t *testing.T) {
	vs := []float64{4, 1, 3, 2}
	if p := percentile(vs, 0.99); p != 4 {
		t.Errorf("p99 = %v", p)
	}
	if p := percentile(vs, 0.5); p != 2 {
		t.Errorf("p50 = %v", p)
	}
	if s := spread([]float64{1, 2, 3}); s != 1 {
		t.Errorf("spread = %v", s)
	}
}
