package main

import (
	"slices"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// A first copy of which nothing is known is not called whole.
func TestUntouchedCopy(t *testing.T) {
	for total, want := range map[uint64]string{
		0:       "copying, nothing copied yet; no recovery point yet",
		1 << 20: "copying, 0 B of 1.0 MiB (0 %); no recovery point yet",
	} {
		g := &adminv1.Group{Id: "db", Role: "source", Copy: &adminv1.CopyProgress{TotalBytes: total}}
		if got := concerns(&adminv1.NodeInfo{}, g); !slices.Contains(got, want) {
			t.Errorf("%d bytes: %q", total, got)
		}
	}
}
