package admin

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Whoever may not call is told before the daemon takes in what it sends.
func TestRefusedBeforeTheBody(t *testing.T) {
	s := startSite(t)
	cfg := load(t, s.cred("source")).ClientTLS("", pki.RoleTarget)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	body, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.tls+adminv1connect.AdminServiceGetStatusProcedure, body)
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req) // the body does not end
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusForbidden {
		t.Fatalf("%s: %s", resp.Status, text)
	}
}

// The early check and the one behind it read the same schema.
func TestProceduresAreThoseOfTheService(t *testing.T) {
	all := procedures()
	if len(all) < 40 || !all[adminv1connect.AdminServiceGetStatusProcedure] {
		t.Fatalf("%v", all)
	}
	for _, p := range []string{adminv1connect.AdminServiceReadPointProcedure, adminv1connect.AdminServiceFailbackProcedure} {
		if ro, ok := all[p]; !ok || ro {
			t.Errorf("%s: known %v, read-only %v", p, ok, ro)
		}
	}
}
