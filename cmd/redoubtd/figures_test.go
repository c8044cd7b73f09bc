package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cmd/redoubtd/service"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/internal/oracle"
	"github.com/redoubt-dr/redoubt/source"
)

// What clients do to a disk of a real source is in its status and on /metrics.
func TestFiguresOfASource(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "root.img")
	if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	host, err := source.Open(source.Config{
		Name: "h", DataDir: dir, RunDir: filepath.Join(dir, "run"), Logger: log,
		Groups: []source.GroupConfig{{Name: "db", Disks: []source.DiskConfig{{Name: "root", Path: image}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	sock := filepath.Join(dir, "run", "metrics.sock")
	n := &node{cfg: &config.Config{Name: "h"}, log: log}
	n.cfg.Metrics.Listen = "unix:" + sock
	svc := service.New(service.Node{Name: "h", Started: time.Now(), Logger: log}, host, nil)
	stop, err := serveMetrics(n, svc)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	ctx := context.Background()
	c, err := oracle.Dial(ctx, filepath.Join(dir, "run", "db.sock"), "root")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	block := make([]byte, 4096)
	for i := range uint64(10) {
		if err := c.Write(block, i*4096, i == 9); err != nil { // the last with FUA
			t.Fatal(err)
		}
	}
	if err := c.Trim(0, 4096); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.ReadAt(block, 8192); err != nil {
			t.Fatal(err)
		}
	}

	st, err := svc.GetStatus(ctx, &adminv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	g := st.GetGroups()[0]
	d := g.GetDisks()[0]
	f := d.GetFigures()
	if d.GetClients() != 1 || f.GetWrites() != 10 || f.GetWriteBytes() != 40960 || f.GetTrims() != 1 || f.GetReads() != 3 {
		t.Errorf("%d clients, %v", d.GetClients(), f)
	}
	if r, w := admin.ToHistogram(f.GetReadLatencyNs()), admin.ToHistogram(f.GetWriteLatencyNs()); r.Count() != 3 || w.Count() != 11 || w.Sum == 0 {
		t.Errorf("latencies: %+v, %+v", r, w)
	}
	j := g.GetJournal().GetFigures()
	if commits := admin.ToHistogram(j.GetCommitRecords()); commits.Sum < 10 || admin.ToHistogram(j.GetFdatasyncNs()).Count() == 0 {
		t.Errorf("journal: %v", j)
	}

	text := scrape(t, sock)
	for _, line := range []string{
		`redoubt_disk_writes_total{disk="root",group="db",role="source"} 10`,
		`redoubt_disk_written_bytes_total{disk="root",group="db",role="source"} 40960`,
		`redoubt_disk_clients{disk="root",group="db",role="source"} 1`,
		`redoubt_disk_read_latency_seconds_count{disk="root",group="db",role="source"} 3`,
		`redoubt_disk_write_latency_seconds_bucket{disk="root",group="db",role="source",le="+Inf"} 11`,
		`redoubt_disk_size_bytes{disk="root",group="db",role="source"} 4.194304e+06`,
		`redoubt_group_epoch{group="db",role="source",state="InitialSync"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/metrics does not have %s", line)
		}
	}
	if testing.Verbose() {
		for _, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "redoubt_") {
				t.Log(line)
			}
		}
	}
}

func scrape(t *testing.T, sock string) string {
	t.Helper()
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sock)
	}}}
	r, err := hc.Get("http://node/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v\n%s", r.Status, err, b)
	}
	return string(b)
}
