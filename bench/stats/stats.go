// Package stats has the few statistics that the benchmarks report. No function
// changes what it is given; Median, Quantile and Spread panic without values.
package stats

import (
	"math"
	"slices"
)

// Median returns the value in the middle, or the mean of the two.
func Median(vs []float64) float64 {
	s := slices.Sorted(slices.Values(vs))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Quantile returns the smallest value that at least the part q of the values
// do not exceed.
func Quantile(vs []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(vs))
	return s[max(0, int(math.Ceil(q*float64(len(s))))-1)]
}

// Spread returns (max-min)/median.
func Spread(vs []float64) float64 {
	return (slices.Max(vs) - slices.Min(vs)) / Median(vs)
}

// MannWhitney returns the two-sided p value of the hypothesis that a and b
// come from one distribution. It is exact without ties up to 20 values a side;
// otherwise it is the normal approximation, corrected for ties and continuity.
func MannWhitney(a, b []float64) float64 {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return 1
	}
	u, ties := 0.0, false
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u, ties = u+0.5, true
			}
		}
	}
	if !ties && n <= 20 && m <= 20 {
		return exactU(n, m, int(u))
	}
	return normalU(a, b, u)
}

// exactU sums the probabilities of all U that are at most as likely as u or
// its mirror image.
func exactU(n, m, u int) float64 {
	ways := countU(n, m)
	u = min(u, n*m-u)
	var tail, all float64
	for i, w := range ways {
		all += w
		if i <= u {
			tail += w
		}
	}
	return min(1, 2*tail/all)
}

// countU returns, for each U from 0 to n*m, how many orders of n and m values
// have it: the coefficients of the Gaussian binomial, by its recurrence.
func countU(n, m int) []float64 {
	// row[j] holds the counts for i values against j.
	row := make([][]float64, m+1)
	for j := range row {
		row[j] = []float64{1}
	}
	for i := 1; i <= n; i++ {
		next := make([][]float64, m+1)
		next[0] = []float64{1}
		for j := 1; j <= m; j++ {
			c := make([]float64, i*j+1)
			for u, w := range row[j] { // the largest is of a: it beats all j
				c[u+j] += w
			}
			for u, w := range next[j-1] { // the largest is of b
				c[u] += w
			}
			next[j] = c
		}
		row = next
	}
	return row[m]
}

func normalU(a, b []float64, u float64) float64 {
	n, m := float64(len(a)), float64(len(b))
	all := slices.Sorted(slices.Values(append(slices.Clone(a), b...)))
	var tie float64
	for i := 0; i < len(all); {
		k := i
		for k < len(all) && all[k] == all[i] {
			k++
		}
		t := float64(k - i)
		tie += t*t*t - t
		i = k
	}
	total := n + m
	sigma := math.Sqrt(n * m / 12 * (total + 1 - tie/(total*(total-1))))
	if sigma == 0 || total < 2 {
		return 1
	}
	z := max(0, math.Abs(u-n*m/2)-0.5) / sigma
	return math.Erfc(z / math.Sqrt2)
}
