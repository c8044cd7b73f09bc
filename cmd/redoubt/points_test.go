package main

import (
	"strings"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// Points say which disks they have only where these are not those of now.
func TestPointsNameTheirDisks(t *testing.T) {
	point := func(lsn uint64, disks ...*adminv1.PointDisk) *adminv1.Point {
		return &adminv1.Point{Position: &adminv1.Position{Epoch: 1, Lsn: lsn}, Time: ago(0), FirstTime: ago(0), FirstLsn: lsn, Disks: disks}
	}
	now := point(30)
	row := func(r *adminv1.ListPointsResponse, at string) string {
		t.Helper()
		var b strings.Builder
		printPoints(&b, r)
		for line := range strings.Lines(b.String()) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == at {
				return strings.TrimSpace(line)
			}
		}
		t.Fatalf("no row %s in\n%s", at, b.String())
		return ""
	}
	r := &adminv1.ListPointsResponse{Latest: now, Earliest: now, Points: []*adminv1.Point{now}}
	if h := row(r, "POINT"); strings.Contains(h, "DISKS") {
		t.Errorf("nothing differs: %s", h)
	}
	r.Points = append(r.Points, point(20, &adminv1.PointDisk{Id: 1, Name: "root"}, &adminv1.PointDisk{Id: 2, Name: "data", Earlier: true}))
	if h := row(r, "POINT"); !strings.HasSuffix(h, "DISKS") {
		t.Errorf("no column: %s", h)
	}
	if x := row(r, "1:20"); !strings.HasSuffix(x, "root, data (an earlier one)") {
		t.Errorf("a point of before: %s", x)
	}
	if x := row(r, "1:30"); !strings.HasSuffix(x, "-") {
		t.Errorf("a point with the disks of now: %s", x)
	}
}
