package service

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/target/history"
)

// A point that is named without its value, as an RPC client with an unset field
// does, is not the latest one.
func TestPointWithoutValueIsRefused(t *testing.T) {
	for _, p := range []*adminv1.PointSpec{
		{At: &adminv1.PointSpec_Lsn{}},
		{At: &adminv1.PointSpec_Bookmark{}},
		{At: &adminv1.PointSpec_Position{}},
		{At: &adminv1.PointSpec_Position{Position: &adminv1.Position{}}},
	} {
		if s, err := pointSpec(p); !errors.Is(err, redoubt.ErrInvalid) || redoubt.Hint(err) == "" {
			t.Errorf("%v: %v, %v", p, s, err)
		}
	}
	for _, p := range []*adminv1.PointSpec{nil, {}, {At: &adminv1.PointSpec_Latest{Latest: true}}, {At: &adminv1.PointSpec_LatestCrash{LatestCrash: true}}} {
		if s, err := pointSpec(p); err != nil || s != (history.PointSpec{}) {
			t.Errorf("%v: %v, %v", p, s, err)
		}
	}
	if s, err := pointSpec(&adminv1.PointSpec{At: &adminv1.PointSpec_Lsn{Lsn: 7}}); err != nil || s.LSN != 7 {
		t.Errorf("%v, %v", s, err)
	}
}
