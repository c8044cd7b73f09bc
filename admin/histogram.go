package admin

import (
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/histogram"
)

// FromHistogram returns s in the schema's form.
func FromHistogram(s histogram.Snapshot) *adminv1.Histogram {
	h := &adminv1.Histogram{Sum: s.Sum}
	for _, b := range s.Buckets {
		h.Buckets = append(h.Buckets, &adminv1.HistogramBucket{Upper: b.Upper, Count: b.Count})
	}
	return h
}

// ToHistogram is the opposite of FromHistogram; nil is empty.
func ToHistogram(h *adminv1.Histogram) histogram.Snapshot {
	s := histogram.Snapshot{Sum: h.GetSum()}
	for _, b := range h.GetBuckets() {
		s.Buckets = append(s.Buckets, histogram.Bucket{Upper: b.GetUpper(), Count: b.GetCount()})
	}
	return s
}
