package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func differing(n uint64) *adminv1.VerifyStatus {
	return &adminv1.VerifyStatus{Last: &adminv1.Verification{Epoch: 1, Lsn: 7, DifferingBlocks: n}}
}

func TestHealth(t *testing.T) {
	well := func() *adminv1.Group {
		return &adminv1.Group{Id: "db", State: "Protected", LagSeconds: proto.Float64(0.4), Link: &adminv1.Link{Connected: true},
			Journal: &adminv1.Journal{UsedBytes: 10, MaxBytes: 100, LastsSeconds: proto.Float64(20)}, Redundancy: &adminv1.Redundancy{Segments: 9}}
	}
	for name, c := range map[string]struct {
		change func(g *adminv1.Group)
		want   string
	}{
		"well":                         {func(*adminv1.Group) {}, "Normal"},
		"behind":                       {func(g *adminv1.Group) { g.LagSeconds = proto.Float64(60) }, "Warning lag"},
		"far behind":                   {func(g *adminv1.Group) { g.LagSeconds = proto.Float64(900) }, "Critical lag"},
		"behind on purpose":            {func(g *adminv1.Group) { g.LagSeconds, g.State = proto.Float64(900), "Paused" }, "Critical journal-lasts, Warning paused"},
		"silent":                       {func(g *adminv1.Group) { g.Link.Connected, g.Journal.LastsSeconds = false, proto.Float64(3599) }, "Warning silent, Warning journal-lasts"},
		"silent, and nobody writes":    {func(g *adminv1.Group) { g.Link.Connected, g.Journal.LastsSeconds = false, nil }, "Warning silent"},
		"journal filling":              {func(g *adminv1.Group) { g.Journal.UsedBytes = 75 }, "Warning journal-full"},
		"journal full":                 {func(g *adminv1.Group) { g.Journal.UsedBytes = 95 }, "Critical journal-full"},
		"a node away":                  {func(g *adminv1.Group) { g.Redundancy.DegradedSegments = 3 }, "Warning redundancy"},
		"two nodes away":               {func(g *adminv1.Group) { g.Redundancy.DegradedSegments, g.Redundancy.BareSegments = 3, 1 }, "Critical redundancy"},
		"failed":                       {func(g *adminv1.Group) { g.Error, g.LagSeconds = "disk on fire", proto.Float64(61) }, "Critical failed, Warning lag"},
		"first copy":                   {func(g *adminv1.Group) { g.State = "InitialSync" }, "Warning copying"},
		"journal lost":                 {func(g *adminv1.Group) { g.State = "ResyncRequired" }, "Critical resync-required"},
		"differs":                      {func(g *adminv1.Group) { g.Verify = differing(3) }, "Critical differs"},
		"differed":                     {func(g *adminv1.Group) { g.Verify = differing(0) }, "Normal"},
		"is mended":                    {func(g *adminv1.Group) { g.Verify, g.State = differing(3), "Resyncing" }, "Warning copying"},
		"not protected":                {func(g *adminv1.Group) { g.State, g.Link, g.Journal = "Unprotected", nil, nil }, "Warning unprotected"},
		"to be committed":              {func(g *adminv1.Group) { g.State = "FailoverCommitPending" }, "Warning commit-pending"},
		"failed over":                  {func(g *adminv1.Group) { g.State = "FailedOver" }, "Warning failed-over"},
		"old primary away":             {func(g *adminv1.Group) { g.State, g.Reverse = "ReverseReplicating", &adminv1.Reverse{} }, "Warning reverse-silent"},
		"fenced":                       {func(g *adminv1.Group) { g.State, g.LagSeconds = "Fenced", nil }, "Warning fenced"},
		"not thinned":                  {func(g *adminv1.Group) { g.Retention = &adminv1.RetentionStatus{Stopped: "a node is away"} }, "Warning retention"},
		"kept for want of a third one": {func(g *adminv1.Group) { g.Journal.GaveUpLsn, g.Journal.WholeLsn = 7, 5 }, "Warning kept"},
	} {
		t.Run(name, func(t *testing.T) {
			g := well()
			c.change(g)
			h := Health(g, Beside{})
			var got []string
			for _, r := range h.Reasons {
				got = append(got, r.Level+" "+r.Code)
				if r.Text == "" || strings.Contains(r.Text, "%!") {
					t.Errorf("text %q", r.Text)
				}
			}
			if len(got) == 0 {
				got = []string{"Normal"}
			}
			if fmt.Sprint(strings.Join(got, ", ")) != c.want || !strings.HasPrefix(c.want, h.Level) {
				t.Errorf("%s: %v, want %s", h.Level, got, c.want)
			}
			if !slices.IsSortedFunc(h.Reasons, func(a, b *adminv1.HealthReason) int { return strings.Compare(a.Level, b.Level) }) {
				t.Errorf("not the worst first: %v", got)
			}
		})
	}
}

// Production at a master target that is dead is no matter of a warning.
func TestHealthOfProductionThatIsGone(t *testing.T) {
	for state, elsewhere := range map[string]bool{"FailoverCommitPending": true, "FailedOver": false, "ReverseReplicating": false} {
		h := Health(&adminv1.Group{Id: "db", State: state}, Beside{WriterDown: "t1"})
		if h.Level != HealthCritical || h.Reasons[0].Code != "writer-down" || !strings.Contains(h.Reasons[0].Text, "node t1") ||
			strings.Contains(h.Reasons[0].Hint, "redoubt failover change db") != elsewhere {
			t.Errorf("%s: %v", state, h)
		}
	}
}

// An image in the place of the one that was protected is served, and is no matter
// of the log alone.
func TestHealthOfAReplacedImage(t *testing.T) {
	h := Health(&adminv1.Group{Id: "db", State: "Protected"}, Beside{Replaced: true})
	if h.Level != HealthCritical || h.Reasons[0].Code != "replaced" || !strings.Contains(h.Reasons[0].Hint, "redoubt verify db") {
		t.Errorf("%v", h)
	}
}
