package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/histogram"
)

// live is a source with a group live under load. Two seconds pass between two
// looks, each with 200 reads of 4 KiB, 400 writes of 8 KiB, 100 trims and one
// flush; the journal makes 100 commits of 5 records each. The caller holds s.mu.
func (s *site) live() *adminv1.GetStatusResponse {
	n := uint64(s.looks)
	s.looks++
	many := func(v uint64, each uint64) *adminv1.Histogram {
		var h histogram.Histogram
		h.Observe(v, each*n)
		return admin.FromHistogram(h.Snapshot())
	}
	return &adminv1.GetStatusResponse{
		Node: &adminv1.NodeInfo{Name: "host1", Roles: []string{"source"}, Version: "v0.1.0", Started: ago(time.Hour), Now: ago(-2 * time.Second * time.Duration(n))},
		Groups: []*adminv1.Group{{
			Id: "live", Role: "source", State: "Protected", Epoch: 1, LagSeconds: proto.Float64(0.4),
			Journal: &adminv1.Journal{UsedBytes: 1 << 30, MaxBytes: 4 << 30, Figures: &adminv1.JournalFigures{
				Records: 500 * n, CommitRecords: many(5, 100), CommitCallers: many(3, 100), FdatasyncNs: many(900_000, 100)}},
			Figures: &adminv1.GroupFigures{UnappliedWrites: 12, UnappliedBytes: 1 << 20, UnappliedSeconds: 0.2},
			Link:    &adminv1.Link{Connected: true, RawBytes: n << 23, WireBytes: n << 22, Figures: &adminv1.ShipFigures{LagWrites: 23, LinkBytesPerSecond: 90 << 20, Codec: "zstd"}},
			Disks: []*adminv1.Disk{{Id: 1, Name: "root", Clients: 2, Figures: &adminv1.DiskFigures{
				Reads: 200 * n, ReadBytes: 200 * n * 4096, Writes: 400 * n, WriteBytes: 400 * n * 8192, Trims: 100 * n, Flushes: n,
				ReadLatencyNs: many(100_000, 200), WriteLatencyNs: many(50_000, 500), FlushLatencyNs: many(3_000_000, 1)}}},
		}},
	}
}

func TestRatesOfTwoLooks(t *testing.T) {
	s := newSite()
	first, second := s.live(), s.live()
	fillRates(nil, first)
	if first.Groups[0].Disks[0].Figures.Rates != nil {
		t.Error("rates after one look")
	}
	fillRates(first, second)
	r := second.Groups[0].Disks[0].Figures.Rates
	if r.GetSeconds() != 2 || r.GetReads() != 100 || r.GetReadBytes() != 409600 || r.GetWrites() != 250 || r.GetWriteBytes() != 400*4096 || r.GetFlushes() != 0.5 {
		t.Errorf("rates %v", r)
	}
	if p := r.GetReadP99Seconds(); p < 100e-6 || p > 112.5e-6 {
		t.Errorf("p99 of reads of 100 us is %g s", p)
	}
	if j := second.Groups[0].Journal.Figures.Rates; j.GetCommits() != 50 || j.GetRecordsPerCommit() != 5 || j.GetCallersPerCommit() != 3 || j.GetRecords() != 250 {
		t.Errorf("journal's rates %v", j)
	}
	if l := second.Groups[0].Link.Figures.Rates; l.GetRawBytes() != 4<<20 || l.GetWireBytes() != 2<<20 {
		t.Errorf("link's rates %v", l)
	}
	// A daemon that was started again counts from 0: no rates, not negative ones.
	s = newSite()
	again := s.live()
	again.Node.Started, again.Node.Now = ago(-4*time.Second), ago(-5*time.Second)
	fillRates(second, again)
	if again.Groups[0].Disks[0].Figures.Rates != nil {
		t.Error("rates over a restart")
	}
	again.Node.Started = second.Node.Started // a group that was opened again
	fillRates(second, again)
	if again.Groups[0].Disks[0].Figures.Rates != nil || again.Groups[0].Journal.Figures.Rates != nil {
		t.Error("rates over counters that began anew")
	}
}

// A terminal gets each look over the one before: the cursor goes home, each
// line is wiped to its end, and what was below it, too.
func TestRedraw(t *testing.T) {
	var out bytes.Buffer
	s := newSite()
	a := &app{out: &out}
	draw := a.redraw()
	first, second := s.live(), s.live()
	second.Healing = fakeHealing()
	fillRates(first, second)
	for _, st := range []*adminv1.GetStatusResponse{first, second} {
		if err := draw(st); err != nil {
			t.Fatal(err)
		}
	}
	frames := strings.Split(out.String(), "\x1b[H")
	if len(frames) != 3 || frames[0] != "\x1b[2J" {
		t.Fatalf("%q", out.String())
	}
	for _, f := range frames[1:] {
		if !strings.HasSuffix(f, "\x1b[J") || strings.Count(f, "\n") != strings.Count(f, "\x1b[K\n") {
			t.Errorf("%q", f)
		}
	}
	if !strings.Contains(frames[2], "\nrepair: 3 shards") || !strings.Contains(frames[2], "\nscrub: pass 4") {
		t.Error("neither repair nor scrub is shown")
	}
	t.Log("\n" + strings.ReplaceAll(frames[2], "\x1b[K", ""))
}

func TestLatencyForPeople(t *testing.T) {
	for s, want := range map[float64]string{812e-9: "0.812us", 95.4e-6: "95.4us", 999.7e-6: "1ms", 1.2549e-3: "1.25ms", 0.9997: "1s", 17: "17s"} {
		if got := latency(&s); got != want {
			t.Errorf("%g s is %q, want %q", s, got, want)
		}
	}
	if latency(nil) != "" {
		t.Error("a latency of nothing")
	}
}

// A node that nobody has let in says what it waits for; a source has no cluster.
func TestStatusOutsideACluster(t *testing.T) {
	for role, want := range map[string]bool{"target": true, "source": false} {
		var out bytes.Buffer
		printStatus(&out, &adminv1.GetStatusResponse{Node: &adminv1.NodeInfo{Name: "t9", Roles: []string{role}}})
		if got := strings.Contains(out.String(), "redoubt node add t9") && strings.Contains(out.String(), "other founders"); got != want {
			t.Errorf("%s: %q", role, out.String())
		}
	}
}
