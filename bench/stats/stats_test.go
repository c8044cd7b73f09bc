package stats

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
		if got := MannWhitney(c.a, c.b); math.Abs(got-c.want) > 2e-4 {
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

func TestValuesInAnyOrder(t *testing.T) {
	four, three := []float64{4, 1, 3, 2}, []float64{3, 1, 2}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"p99 of four", Quantile(four, 0.99), 4},
		{"p50 of four", Quantile(four, 0.5), 2},
		{"p0 of four", Quantile(four, 0), 1},
		{"median of four", Median(four), 2.5},
		{"median of three", Median(three), 2},
		{"spread of three", Spread(three), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	if four[0] != 4 || three[0] != 3 {
		t.Error("the values were changed")
	}
}
