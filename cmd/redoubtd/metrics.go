package main

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt/admin"
	"github.com/redoubt-dr/redoubt/cmd/redoubtd/metrics"
)

// serveMetrics serves package metrics where the configuration says, which is a
// local address: nothing there is authenticated.
func serveMetrics(n *node, s metrics.Status) (stop func() error, err error) {
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
	srv := &http.Server{Handler: metrics.Handler(s), ReadHeaderTimeout: 10 * time.Second}
	go n.report("metrics", func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return srv.Close, nil
}
