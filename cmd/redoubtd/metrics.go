package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// serveMetrics serves /metrics, /healthz and /debug/pprof where the
// configuration says, which is a local address: nothing there is authenticated.
func serveMetrics(n *node, svc *service) (stop func() error, err error) {
	where := n.cfg.Metrics.Listen
	if where == "off" {
		return func() error { return nil }, nil
	}
	var l net.Listener
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		l, err = admin.ListenUnix(path)
	} else {
		l, err = net.Listen("tcp", where)
	}
	if err != nil {
		return nil, err
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &groupCollector{svc})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go n.report("metrics", func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return srv.Close, nil
}

// groupCollector turns the status of the groups into metrics when it is asked.
type groupCollector struct{ svc *service }

// gauge describes one figure of a group; ok is false where it is unknown.
type gauge struct {
	desc  *prometheus.Desc
	value func(g *adminv1.Group) (v float64, ok bool)
}

func newGauge(name, help string, value func(g *adminv1.Group) (float64, bool)) gauge {
	return gauge{prometheus.NewDesc("redoubt_group_"+name, help, []string{"group", "role", "state"}, nil), value}
}

func (c *groupCollector) gauges() []gauge {
	known := func(v uint64) (float64, bool) { return float64(v), true }
	return []gauge{
		newGauge("lag_seconds", "Age of the oldest write that is not safe at the secondary (RPO).",
			func(g *adminv1.Group) (float64, bool) { return g.GetLagSeconds(), g.LagSeconds != nil }),
		newGauge("head_lsn", "Newest write known at the writer.", func(g *adminv1.Group) (float64, bool) { return known(g.GetHead().GetLsn()) }),
		newGauge("committed_lsn", "Newest write that is safe at the secondary.", func(g *adminv1.Group) (float64, bool) { return known(g.GetCommitted().GetLsn()) }),
		newGauge("epoch", "Number of the current writer.", func(g *adminv1.Group) (float64, bool) { return known(g.GetEpoch()) }),
		newGauge("read_only", "1 if the disks take no writes here.", func(g *adminv1.Group) (float64, bool) {
			if g.GetReadOnly() {
				return 1, true
			}
			return 0, true
		}),
		newGauge("journal_used_bytes", "Journal in use.", func(g *adminv1.Group) (float64, bool) {
			return float64(g.GetJournal().GetUsedBytes()), g.Journal != nil
		}),
		newGauge("journal_max_bytes", "Bound of the journal.", func(g *adminv1.Group) (float64, bool) { return float64(g.GetJournal().GetMaxBytes()), g.Journal != nil }),
		newGauge("degraded_segments", "Segments with fewer shards than the policy asks for.",
			func(g *adminv1.Group) (float64, bool) {
				return float64(g.GetRedundancy().GetDegradedSegments()), g.Redundancy != nil
			}),
		newGauge("segments", "Segments stored.", func(g *adminv1.Group) (float64, bool) {
			return float64(g.GetRedundancy().GetSegments()), g.Redundancy != nil
		}),
	}
}

// Describe implements prometheus.Collector.
func (c *groupCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range c.gauges() {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c *groupCollector) Collect(ch chan<- prometheus.Metric) {
	st, err := c.svc.GetStatus(context.Background(), &adminv1.GetStatusRequest{})
	if err != nil {
		return
	}
	gauges := c.gauges()
	for _, group := range st.GetGroups() {
		for _, g := range gauges {
			if v, ok := g.value(group); ok {
				ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v, group.GetId(), group.GetRole(), group.GetState())
			}
		}
	}
}
