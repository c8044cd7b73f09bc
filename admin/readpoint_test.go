package admin

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// ReadPoint sends what the disk's name says: a good disk, or one of several bad ones.
func (n *node) ReadPoint(ctx context.Context, r *adminv1.ReadPointRequest, out *connect.ServerStream[adminv1.ReadPointResponse]) error {
	send := func(p *adminv1.ReadPointResponse) error { return out.Send(p) }
	data := func(off uint64, b string, crc uint32) *adminv1.ReadPointResponse {
		return &adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_Data{Data: &adminv1.PointData{Off: off, Data: []byte(b), Crc32C: crc}}}
	}
	good := func(off uint64, b string) *adminv1.ReadPointResponse {
		return data(off, b, redoubt.Checksum([]byte(b)))
	}
	head := &adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_Header{Header: &adminv1.PointHeader{Size: 100}}}
	end := func(n uint64) *adminv1.ReadPointResponse {
		return &adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_End{End: &adminv1.PointEnd{DataBytes: n}}}
	}
	streams := map[string][]*adminv1.ReadPointResponse{
		"good": {head, good(10, "one"), good(50, "two"), end(6)}, "cut": {head, good(10, "one")}, "short": {head, good(10, "one"), end(6)},
		"flipped": {head, data(10, "one", 1), end(3)}, "outside": {head, good(99, "one"), end(3)}, "back": {head, good(50, "one"), good(10, "two"), end(6)},
		"headless": {good(10, "one"), end(3)}, "twice": {head, head, end(0)}, "silent": {head},
	}
	for _, m := range streams[r.Disk] {
		if err := send(m); err != nil {
			return err
		}
	}
	switch r.Disk {
	case "silent":
		<-ctx.Done()
		return ctx.Err()
	case "fails":
		return &redoubt.Error{Op: "read point", Object: "x", Err: redoubt.ErrNotFound, Hint: "look elsewhere"}
	case "panics":
		panic("on purpose")
	}
	return nil
}

type memSink struct {
	disk []byte
}

func (s *memSink) Begin(h *adminv1.PointHeader) error {
	s.disk = make([]byte, h.Size)
	return nil
}

func (s *memSink) Data(off uint64, b []byte) error {
	copy(s.disk[off:], b)
	return nil
}

// Only a stream that is whole and right is a disk.
func TestReadDisk(t *testing.T) {
	s := startSite(t)
	c := s.dial(t, s.tls, "operator")
	read := func(disk string) ([]byte, error) {
		var m memSink
		err := c.ReadDisk(t.Context(), &adminv1.ReadPointRequest{Group: "g", Disk: disk}, 500*time.Millisecond, &m)
		return m.disk, err
	}
	got, err := read("good")
	want := make([]byte, 100)
	copy(want[10:], "one")
	copy(want[50:], "two")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, bad := range []string{"cut", "short", "flipped", "outside", "back", "headless", "twice"} {
		if _, err := read(bad); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := read("silent"); !errors.Is(err, redoubt.ErrUnavailable) || !strings.Contains(err.Error(), "no data for") {
		t.Errorf("silent: %v", err)
	}
	if _, err := read("fails"); !errors.Is(err, redoubt.ErrNotFound) || redoubt.Hint(err) != "look elsewhere" {
		t.Errorf("fails: %v", err)
	}
	if _, err := read("panics"); ReasonOf(err) != ReasonInternal {
		t.Errorf("panics: %v", err)
	}
}

// A stream gives data away: who only looks may not have it.
func TestRolesOfStreams(t *testing.T) {
	s := startSite(t)
	for role, allowed := range map[string]bool{"operator": true, "target": true, "viewer": false, "source": false} {
		var m memSink
		err := s.dial(t, s.tls, role).ReadDisk(t.Context(), &adminv1.ReadPointRequest{Disk: "good"}, 0, &m)
		if (err == nil) != allowed || err != nil && (!errors.Is(err, redoubt.ErrDenied) || m.disk != nil) {
			t.Errorf("%s: %v, %d bytes", role, err, len(m.disk))
		}
	}
}
