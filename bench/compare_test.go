package main

import (
	"regexp"
	"testing"
)

func TestComparisonNamesOnlyWhatIsSignificant(t *testing.T) {
	r := &results{jobs: []job{{name: "faster"}, {name: "same"}}}
	for i := range 5 {
		v := float64(i)
		r.add("faster", "old", measurement{IOPS: 100 + v, P99us: 10})
		r.add("faster", "new", measurement{IOPS: 200 + v, P99us: 10})
		r.add("same", "old", measurement{IOPS: 100 + v, P99us: 10})
		r.add("same", "new", measurement{IOPS: 100.5 + v, P99us: 10})
	}
	got := r.comparison()
	for _, want := range []string{
		`faster +102 ± 2% +202 ± 1% +\+98\.0%  \(p=0\.008 n=5\+5\)`,
		`same +102 ± 2% +102 ± 2% +~  \(p=0\.\d+ n=5\+5\)`,
		`geometric mean +\+41\.\d%`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
