package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// Status is what the metrics are taken from.
type Status interface {
	GetStatus(context.Context, *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error)
}

// collector turns the status of the groups into metrics when it is asked.
type collector struct {
	status  Status
	groups  shelf[*adminv1.Group]
	images  shelf[*adminv1.GroupFigures]
	journal shelf[*adminv1.Journal]
	disks   shelf[*adminv1.Disk]
	streams shelf[stream]
	healing shelf[*adminv1.Healing]
	nodes   shelf[*adminv1.ClusterNode]
	marks   shelf[*adminv1.BookmarkFigures]
	checks  shelf[*adminv1.Check]
}

// stream is one way to another site.
type stream struct {
	connected       bool
	rawBytes, bytes uint64
	figures         *adminv1.ShipFigures
}

func newCollector(s Status) *collector {
	return &collector{status: s, groups: groupShelf(), images: imageShelf(), journal: journalShelf(), disks: diskShelf(), streams: streamShelf(), healing: healingShelf(), nodes: nodeShelf(), marks: bookmarkShelf(), checks: checkShelf()}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	c.groups.describe(ch)
	c.images.describe(ch)
	c.journal.describe(ch)
	c.disks.describe(ch)
	c.streams.describe(ch)
	c.healing.describe(ch)
	c.nodes.describe(ch)
	c.marks.describe(ch)
	c.checks.describe(ch)
}

func (s *shelf[T]) describe(ch chan<- *prometheus.Desc) {
	for _, f := range s.figures {
		ch <- f.desc
	}
}

func (s *shelf[T]) collect(ch chan<- prometheus.Metric, from T, labels ...string) {
	for _, f := range s.figures {
		f.collect(from, labels, ch)
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	st, err := c.status.GetStatus(context.Background(), &adminv1.GetStatusRequest{})
	if err != nil {
		return
	}
	if h := st.GetHealing(); h != nil {
		c.healing.collect(ch, h)
	}
	for _, n := range st.GetCluster() {
		c.nodes.collect(ch, n, n.GetId(), n.GetState(), n.GetDomain())
	}
	for _, g := range st.GetGroups() {
		c.groups.collect(ch, g, g.GetId(), g.GetRole(), g.GetState())
		if f := g.GetFigures(); f != nil {
			c.images.collect(ch, f, g.GetId(), g.GetRole())
		}
		if j := g.GetJournal(); j.GetFigures() != nil {
			c.journal.collect(ch, j, g.GetId(), g.GetRole())
		}
		if k := g.GetLastCheck(); k != nil {
			c.checks.collect(ch, k, g.GetId(), k.GetScript(), k.GetNode())
		}
		if b := g.GetBookmarks(); b != nil {
			c.marks.collect(ch, b, g.GetId())
		}
		for _, d := range g.GetDisks() {
			if d.GetFigures() != nil {
				c.disks.collect(ch, d, g.GetId(), g.GetRole(), d.GetName())
			}
		}
		if l := g.GetLink(); l.GetFigures() != nil {
			c.streams.collect(ch, stream{l.GetConnected(), l.GetRawBytes(), l.GetWireBytes(), l.GetFigures()}, g.GetId(), g.GetRole(), "forward")
		}
		if r := g.GetReverse(); r.GetFigures() != nil {
			c.streams.collect(ch, stream{r.GetConnected(), r.GetRawBytes(), r.GetWireBytes(), r.GetFigures()}, g.GetId(), g.GetRole(), "reverse")
		}
	}
}
