package segment

import "github.com/redoubt-dr/redoubt"

// tally bounds the footer of the file that is written, whose room is kept until
// it is sealed: a full disk must not be able to refuse it.
type tally struct {
	records int
	names   int64 // bytes of the series' names in the summary
	spans   int   // at most so many
	series  map[seriesName]bool
	epochs  map[epochName]int // records of each
}

type epochName struct {
	seriesName
	epoch redoubt.Epoch
}

// add counts records that the footer may have to list.
func (t *tally) add(rs []*request) {
	if t.series == nil {
		t.series, t.epochs = map[seriesName]bool{}, map[epochName]int{}
	}
	for _, r := range rs {
		n := r.h.name()
		if !t.series[n] {
			t.series[n] = true
			t.names += int64(2 + len(n.group) + len(n.uuid))
		}
		e := epochName{n, r.h.Epoch}
		if t.epochs[e]++; t.epochs[e] <= maxSpans {
			t.spans++
		}
		t.records++
	}
}

// bound is how many bytes footer and trailer take at most.
func (t *tally) bound() int64 {
	pages := int64(t.records+pageEntries-1) / pageEntries
	directory := pages*keyLen + 4
	summary := 4 + t.names + 4 + int64(t.spans)*spanLen + 4
	return footerFixed + pages*pageHead + int64(t.records)*entryLen + directory + summary + trailerLen
}
