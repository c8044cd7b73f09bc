package main

import (
	"net"
	"strings"

	"github.com/redoubt-dr/redoubt/admin"
	"github.com/redoubt-dr/redoubt/cmd/redoubtd/metrics"
)

// serveMetrics serves package metrics where the configuration says. Nobody is
// authenticated there but by the mode of a unix socket.
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
	srv := metrics.NewServer(s)
	go n.report("metrics", func() error { return srv.Serve(l) })
	return srv.Close, nil
}
