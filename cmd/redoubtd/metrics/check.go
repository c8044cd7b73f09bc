package metrics

import (
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// checkShelf has how the last recovery check of a group went.
func checkShelf() shelf[*adminv1.Check] {
	type last = *adminv1.Check
	s := shelf[last]{prefix: "redoubt_check_", labels: []string{"group", "script", "node"}}
	s.gauge("passed", "1 if the group's last recovery check passed.", func(c last) (float64, bool) { return truth(c.Passed) })
	s.gauge("timestamp_seconds", "Unix time of the end of the group's last recovery check.", func(c last) (float64, bool) {
		return float64(c.Time.AsTime().UnixNano()) / 1e9, c.Time != nil
	})
	s.gauge("rto_seconds", "From the request to the first byte of every disk, in the group's last recovery check.", func(c last) (float64, bool) {
		return c.Rto.AsDuration().Seconds(), c.Rto != nil
	})
	return s
}
