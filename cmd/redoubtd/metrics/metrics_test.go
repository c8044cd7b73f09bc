package metrics

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// fixedStatus is a node in which everything is known.
type fixedStatus struct{}

func (fixedStatus) GetStatus(context.Context, *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	h := &adminv1.Histogram{Sum: 30, Buckets: []*adminv1.HistogramBucket{{Upper: 1, Count: 2}, {Upper: 4095, Count: 1}}}
	ship := func() *adminv1.ShipFigures { return &adminv1.ShipFigures{LinkBytesPerSecond: 1e6, Codec: "zstd"} }
	healing := &adminv1.Healing{Repair: &adminv1.Repair{EtaSeconds: proto.Float64(1)}, Scrub: &adminv1.Scrub{Finished: timestamppb.Now()}}
	return &adminv1.GetStatusResponse{Healing: healing, Cluster: []*adminv1.ClusterNode{{Id: "t1", State: "active", Domain: "r1"}}, Groups: []*adminv1.Group{{
		Id: "db", Role: "source", State: "Protected", LagSeconds: proto.Float64(0.5), Redundancy: &adminv1.Redundancy{}, Retention: &adminv1.RetentionStatus{}, Overflow: &adminv1.Overflow{}, Gap: &adminv1.Gap{},
		Figures: &adminv1.GroupFigures{}, Verify: &adminv1.VerifyStatus{Last: &adminv1.Verification{Finished: timestamppb.Now()}}, Health: &adminv1.Health{Level: "Normal"},
		LastCheck: &adminv1.Check{Script: "e2fsck", Node: "t1", Time: timestamppb.Now(), Rto: durationpb.New(time.Second)},
		Bookmarks: &adminv1.BookmarkFigures{LastApp: timestamppb.Now(), LastFrozen: durationpb.New(time.Second)},
		Journal:   &adminv1.Journal{UsedBytes: 1, MaxBytes: 4, Figures: &adminv1.JournalFigures{FdatasyncNs: h, CommitRecords: h, CommitCallers: h}},
		Disks: []*adminv1.Disk{
			{Name: "root", Figures: &adminv1.DiskFigures{ReadLatencyNs: h, WriteLatencyNs: h, FlushLatencyNs: h}},
			{Name: "data", Figures: &adminv1.DiskFigures{}},
		},
		Link:    &adminv1.Link{Figures: ship()},
		Reverse: &adminv1.Reverse{Figures: ship()},
	}}}, nil
}

// described returns the names of all metrics that the collector can export.
func described(c prometheus.Collector) []string {
	ch := make(chan *prometheus.Desc)
	go func() { c.Describe(ch); close(ch) }()
	var names []string
	for d := range ch {
		names = append(names, regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1])
	}
	slices.Sort(names)
	return names
}

// Every metric has a row in the reference, and every row a metric.
func TestMetricsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(redoubt_[a-z0-9_]+)`").FindAllStringSubmatch(string(b), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	exported := described(newCollector(fixedStatus{}))
	for _, n := range exported {
		if !slices.Contains(documented, n) {
			t.Errorf("docs/METRICS.md has no row for %s", n)
		}
	}
	for _, n := range documented {
		if !slices.Contains(exported, n) {
			t.Errorf("docs/METRICS.md has a row for %s, which is not exported", n)
		}
	}
	if len(slices.Compact(documented)) != len(exported) || len(exported) < 50 {
		t.Errorf("%d rows, %d metrics", len(documented), len(exported))
	}
}

// What is described is exported where it is known, is consistent, and follows
// the conventions of Prometheus.
func TestMetricsOfAWholeStatus(t *testing.T) {
	c := newCollector(fixedStatus{})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	got, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range got {
		names = append(names, f.GetName())
	}
	if want := described(c); !slices.Equal(names, want) {
		t.Errorf("exported:\n%s\ndescribed:\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	problems, err := promlint.NewWithMetricFamilies(got).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
