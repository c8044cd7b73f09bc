package blockdev

import (
	"bytes"
	"testing"
	"time"
)

// Each answered request is in one histogram, whether it came alone or in a
// batch, was short or long; a refused one is in none.
func TestLatenciesCountRequests(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{ApplyInterval: time.Hour}, nil, 4<<20))
	c := sv.client(t, "d1")
	block := bytes.Repeat([]byte{1}, 4096)
	var batch []byte
	for i := range uint64(5) {
		batch = append(batch, append(header(0, cmdWrite, i, i*4096, 4096), block...)...)
	}
	batch = append(batch, header(0, cmdFlush, 5, 0, 0)...)
	batch = append(batch, header(0, cmdTrim, 6, 8192, 4096)...)
	c.send(batch)
	for range 7 {
		if _, errno, _ := c.answer(0); errno != 0 {
			t.Fatalf("errno %d", errno)
		}
	}
	c.do(cmdFlagFUA, cmdWrite, 0, 2<<20, make([]byte, 2<<20)) // comes in several reads of the socket
	c.do(0, cmdRead, 0, 4096, nil)
	c.do(0, cmdRead, 0, 1<<20, nil) // longer than inlineRead: a worker's
	if errno, _ := c.do(0, cmdRead, 8<<20, 4096, nil); errno == 0 {
		t.Fatal("a read behind the end was answered")
	}
	s := sv.g.Stats().Disks[0]
	if r, w, f := s.ReadLatency.Count(), s.WriteLatency.Count(), s.FlushLatency.Count(); r != 2 || w != 7 || f != 1 {
		t.Errorf("%d reads, %d writes, %d flushes; want 2, 7, 1", r, w, f)
	}
	if s.ReadLatency.Sum == 0 || s.WriteLatency.Sum == 0 || s.FlushLatency.Sum == 0 {
		t.Errorf("no time passed: %+v", s)
	}
}

func TestClientsOfAnExport(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20, 1<<20))
	sv.dial(t) // never ends its handshake
	c := sv.client(t, "d1")
	c.do(0, cmdRead, 0, 512, nil) // only now it is sure that the server has begun to serve
	e := sv.client(t, "d1")
	e.do(0, cmdRead, 0, 512, nil)
	if a, b := sv.s.Clients("d1"), sv.s.Clients("d2"); a != 2 || b != 0 {
		t.Fatalf("%d and %d clients, want 2 and 0", a, b)
	}
	if err := sv.s.Remove("d1"); err != nil {
		t.Fatal(err)
	}
	if n := sv.s.Clients("d1"); n != 0 {
		t.Fatalf("%d clients of an export that is gone", n)
	}
}

// The lag follows a write through memory and page cache to the disk.
func TestLagOfTheImages(t *testing.T) {
	r := newRig(t, GroupOptions{ApplyInterval: time.Hour, SyncInterval: time.Hour}, nil, 1<<20)
	defer r.close(t)
	v := r.g.Volumes()[0]
	if l := r.g.Stats().Lag; l != (Lag{}) {
		t.Fatalf("lag of an idle group: %+v", l)
	}
	for i := range uint64(3) {
		if err := v.Write(make([]byte, 4096), i*4096, false); err != nil {
			t.Fatal(err)
		}
	}
	l := r.g.Stats().Lag
	if l.Records != 3 || l.Bytes < 3*4096 || l.Age <= 0 || l.UnsyncedRecords != 3 || l.UnsyncedBytes != l.Bytes || l.UnsyncedAge < l.Age {
		t.Fatalf("lag in memory: %+v", l)
	}
	if err := r.g.round(); err != nil {
		t.Fatal(err)
	}
	w := r.g.Stats().Lag
	if w.Records != 0 || w.Bytes != 0 || w.Age != 0 || w.UnsyncedRecords != 3 || w.UnsyncedBytes != l.Bytes || w.UnsyncedAge <= l.Age {
		t.Fatalf("lag in the page cache: %+v after %+v", w, l)
	}
	if err := v.Write(make([]byte, 512), 0, false); err != nil {
		t.Fatal(err)
	}
	if m := r.g.Stats().Lag; m.Records != 1 || m.UnsyncedRecords != 4 || m.Age >= m.UnsyncedAge {
		t.Fatalf("a new write behind three old ones: %+v", m)
	}
	if err := r.g.Drain(background); err != nil {
		t.Fatal(err)
	}
	if l := r.g.Stats().Lag; l != (Lag{}) {
		t.Fatalf("lag of a drained group: %+v", l)
	}
}
