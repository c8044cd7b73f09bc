package main

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/histogram"
)

// fillRates computes the rates of st from what was counted since old, by the
// node's own clock. Where a counter began anew there are none.
func fillRates(old, st *adminv1.GetStatusResponse) {
	seconds := st.GetNode().GetNow().AsTime().Sub(old.GetNode().GetNow().AsTime()).Seconds()
	if old.GetNode() == nil || seconds <= 0 || !proto.Equal(old.GetNode().GetStarted(), st.GetNode().GetStarted()) {
		return
	}
	for _, g := range st.Groups {
		was := sameGroup(old, g)
		if f, was := g.GetJournal().GetFigures(), was.GetJournal().GetFigures(); f != nil && was != nil {
			f.Rates = journalRates(was, f, seconds)
		}
		fillShipRates(was.GetLink(), g.GetLink(), seconds)
		fillShipRates(was.GetReverse(), g.GetReverse(), seconds)
		for _, d := range g.Disks {
			if f, was := d.GetFigures(), sameDisk(was, d); f != nil && was != nil {
				f.Rates = diskRates(was, f, seconds)
			}
		}
	}
}

func sameGroup(st *adminv1.GetStatusResponse, g *adminv1.Group) *adminv1.Group {
	for _, o := range st.GetGroups() {
		if o.Id == g.Id && o.Role == g.Role {
			return o
		}
	}
	return nil
}

func sameDisk(g *adminv1.Group, d *adminv1.Disk) *adminv1.DiskFigures {
	for _, o := range g.GetDisks() {
		if o.Name == d.Name {
			return o.GetFigures()
		}
	}
	return nil
}

// pace turns two looks at counters into rates.
type pace struct {
	seconds float64
	broken  bool // a counter began anew
}

func (p *pace) of(old, now uint64) float64 {
	if now < old {
		p.broken = true
		return 0
	}
	return float64(now-old) / p.seconds
}

func (p *pace) between(old, now *adminv1.Histogram) histogram.Snapshot {
	d, ok := admin.ToHistogram(now).Since(admin.ToHistogram(old))
	p.broken = p.broken || !ok
	return d
}

// p99 returns, in seconds, what 99 of 100 values of nanoseconds do not exceed.
func (p *pace) p99(old, now *adminv1.Histogram) *float64 {
	v, ok := p.between(old, now).Quantile(0.99)
	if !ok {
		return nil
	}
	return proto.Float64(time.Duration(v).Seconds())
}

func diskRates(old, now *adminv1.DiskFigures, seconds float64) *adminv1.DiskRates {
	p := pace{seconds: seconds}
	r := &adminv1.DiskRates{
		Seconds: seconds, Reads: p.of(old.Reads, now.Reads), ReadBytes: p.of(old.ReadBytes, now.ReadBytes),
		Writes:     p.of(old.Writes+old.Zeroes+old.Trims, now.Writes+now.Zeroes+now.Trims),
		WriteBytes: p.of(old.WriteBytes, now.WriteBytes), Flushes: p.of(old.Flushes, now.Flushes),
		ReadP99Seconds:  p.p99(old.ReadLatencyNs, now.ReadLatencyNs),
		WriteP99Seconds: p.p99(old.WriteLatencyNs, now.WriteLatencyNs),
		FlushP99Seconds: p.p99(old.FlushLatencyNs, now.FlushLatencyNs),
	}
	if p.broken {
		return nil
	}
	return r
}

func journalRates(old, now *adminv1.JournalFigures, seconds float64) *adminv1.JournalRates {
	p := pace{seconds: seconds}
	records, callers := p.between(old.CommitRecords, now.CommitRecords), p.between(old.CommitCallers, now.CommitCallers)
	r := &adminv1.JournalRates{
		Seconds: seconds, Records: p.of(old.Records, now.Records), Commits: float64(records.Count()) / seconds,
		RecordsPerCommit: mean(records), CallersPerCommit: mean(callers), FdatasyncP99Seconds: p.p99(old.FdatasyncNs, now.FdatasyncNs),
	}
	if p.broken {
		return nil
	}
	return r
}

// shipping is a stream in the status: Link or Reverse.
type shipping interface {
	GetRawBytes() uint64
	GetWireBytes() uint64
	GetFigures() *adminv1.ShipFigures
}

func fillShipRates(old, now shipping, seconds float64) {
	if old.GetFigures() == nil || now.GetFigures() == nil {
		return
	}
	p := pace{seconds: seconds}
	r := &adminv1.ShipRates{Seconds: seconds, RawBytes: p.of(old.GetRawBytes(), now.GetRawBytes()), WireBytes: p.of(old.GetWireBytes(), now.GetWireBytes())}
	if !p.broken {
		now.GetFigures().Rates = r
	}
}

func mean(s histogram.Snapshot) float64 { return float64(s.Sum) / float64(max(1, s.Count())) }
