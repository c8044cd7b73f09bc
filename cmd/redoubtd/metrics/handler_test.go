package metrics

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Profiles are for this host alone, also where the metrics are for all.
func TestProfilesAreLocal(t *testing.T) {
	h := Handler(nil)
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 9100} }
	for _, c := range []struct {
		at   net.Addr
		path string
		want int
	}{
		{&net.UnixAddr{Net: "unix", Name: "/run/redoubt/metrics.sock"}, "/debug/pprof/", http.StatusOK},
		{tcp("127.0.0.1"), "/debug/pprof/", http.StatusOK},
		{tcp("::1"), "/debug/pprof/", http.StatusOK},
		{tcp("10.0.0.5"), "/debug/pprof/", http.StatusForbidden},
		{tcp("10.0.0.5"), "/debug/pprof/heap", http.StatusForbidden},
		{tcp("10.0.0.5"), "/debug/pprof/profile?seconds=1", http.StatusForbidden},
		{tcp("10.0.0.5"), "/debug/pprof/trace?seconds=1", http.StatusForbidden},
		{tcp("10.0.0.5"), "/healthz", http.StatusOK},
		{nil, "/debug/pprof/", http.StatusForbidden},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, c.at)))
		if w.Code != c.want {
			t.Errorf("%s at %v: %d, want %d", c.path, c.at, w.Code, c.want)
		}
	}
}
