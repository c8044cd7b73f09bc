package blockdev

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// TestHoldKeepsWritesOutOfTheOrder has writers on two disks; while they are
// held the order takes bookmarks and nothing else, and no writer gets an error.
func TestHoldKeepsWritesOutOfTheOrder(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 64<<10, 64<<10)
	defer r.close(t)
	var acks atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, v := range r.g.Volumes() {
		wg.Go(func() {
			p := make([]byte, 512)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				p[0] = byte(n)
				if err := v.Write(p, uint64(n%100)*512, false); err != nil {
					t.Errorf("disk %d: %v", i, err)
					return
				}
				acks.Add(1)
			}
		})
	}
	for range 20 {
		for before := acks.Load(); acks.Load() < before+10; {
			time.Sleep(time.Millisecond)
		}
		h, err := r.g.Hold(MaxHold)
		if err != nil {
			t.Fatal(err)
		}
		head := r.j.Head().LSN
		var marks []redoubt.LSN
		for range 3 {
			w, err := r.g.AppendMark(t.Context(), redoubt.Bookmark{Name: "a"}, h.Check)
			if err != nil {
				t.Fatal(err)
			}
			marks = append(marks, w.LSN)
		}
		if marks[0] != head+1 || marks[2] != head+3 || r.j.Head().LSN != head+3 {
			t.Fatalf("head %d, bookmarks %v, head %d: a write passed", head, marks, r.j.Head().LSN)
		}
		if took, err := h.Release(); err != nil || took <= 0 {
			t.Fatalf("held %s, %v", took, err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestHoldEndsAtItsLimit(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 64<<10)
	defer r.close(t)
	v := r.g.Volumes()[0]
	h, err := r.g.Hold(50 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Write(make([]byte, 512), 0, false); err != nil { // waits for the limit
		t.Fatal(err)
	}
	if _, err := r.g.AppendMark(t.Context(), redoubt.Bookmark{Name: "a"}, h.Check); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Errorf("a bookmark after the limit: %v", err)
	}
	if head := r.j.Head().LSN; head != 1 {
		t.Errorf("head %d: the refused bookmark is in the journal", head)
	}
	if took, err := h.Release(); !errors.Is(err, redoubt.ErrUnavailable) || took < 50*time.Millisecond {
		t.Errorf("release: %s, %v", took, err)
	}
	for _, d := range []time.Duration{0, -1, MaxHold + 1} {
		if _, err := r.g.Hold(d); !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("limit %s: %v", d, err)
		}
	}
}

func TestHeldWritersEndWithTheGroup(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 64<<10)
	h, err := r.g.Hold(MaxHold)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- r.g.Volumes()[0].Write(make([]byte, 512), 0, false) }()
	for r.g.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	r.g.SetReadOnly(redoubt.ErrFenced)
	if err := <-answer; !errors.Is(err, redoubt.ErrFenced) {
		t.Errorf("a held write of a fenced group: %v", err)
	}
	r.close(t)
	if _, err := h.Release(); err != nil {
		t.Errorf("release after Close: %v", err)
	}
}
