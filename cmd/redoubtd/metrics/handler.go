package metrics

import (
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves /metrics, /healthz and /debug/pprof. Nobody is authenticated
// there. Profiles show the inside of the process and cost its time, so they are
// for connections from this host alone, wherever it is served.
func Handler(s Status) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(s))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("/debug/pprof/", localOnly(pprof.Index))
	mux.HandleFunc("/debug/pprof/profile", localOnly(pprof.Profile))
	mux.HandleFunc("/debug/pprof/trace", localOnly(pprof.Trace))
	return mux
}

// localOnly refuses what did not come over a unix socket or a loopback address.
func localOnly(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !local(at) {
			http.Error(w, "profiles are served over a unix socket or a loopback address only: ask on the node itself", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

func local(at net.Addr) bool {
	switch a := at.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	}
	return false
}
