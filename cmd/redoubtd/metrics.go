package main

import (
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
)

// serveMetrics serves /metrics, /healthz and /debug/pprof where the
// configuration says, which is a local address: nothing there is authenticated.
func serveMetrics(n *node, svc *service) (stop func() error, err error) {
	where := n.cfg.Metrics.Listen
	if where == "off" {
		return func() error { return nil }, nil
	}
	key, open := "tcp:"+where, func() (net.Listener, error) { return net.Listen("tcp", where) }
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		key, open = where, func() (net.Listener, error) { return admin.ListenUnix(path) }
	}
	l, err := n.sockets.Listen(key, open)
	if err != nil {
		return nil, err
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(svc))
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
