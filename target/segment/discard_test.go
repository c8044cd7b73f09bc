package segment

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// fillLog puts n shards and returns them; with files of 1 MiB that is several files.
func fillLog(t *testing.T, l *Log, rng *rand.Rand, n int) (all []*Shard) {
	t.Helper()
	for i := range n {
		s := shard(rng, "g", uint64(i))
		put(t, l, s)
		all = append(all, s)
	}
	return all
}

func diskBytes(t *testing.T, fs vfs.FS) (n int64) {
	t.Helper()
	es, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		i, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += i.Size()
	}
	return n
}

// What is discarded gives its space back, what is not stays and is right, also
// after a restart, and while readers read what moves.
func TestReclaim(t *testing.T) {
	rng := seeded.Rand(t)
	fs := newFS(t)
	l := open(t, fs)
	all := fillLog(t, l, rng, 80)
	before := diskBytes(t, fs)
	var left []*Shard
	for _, s := range all {
		if rng.IntN(4) == 0 {
			left = append(left, s)
		} else {
			l.Discard(s.ID)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.Check(left[i%len(left)].ID); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var paced int64
	for {
		n, err := l.Reclaim(context.Background(), 0.15, func(n int64) { paced += n })
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	close(stop)
	wg.Wait()
	u := l.Usage()
	t.Logf("%d bytes on disk, %d before; %+v; %d written anew", diskBytes(t, fs), before, u, paced)
	if u.Bytes-u.Live > u.Bytes*15/100 || diskBytes(t, fs) > before*2/3 || paced == 0 {
		t.Error("the space did not come back")
	}
	for _, s := range left {
		check(t, l, s, rng)
	}
	l.Close()
	if rep, err := Verify(fs, dir); err != nil || len(rep.Damage) > 0 {
		t.Fatalf("%+v %v", rep, err)
	}
	l = open(t, fs)
	for _, s := range left {
		check(t, l, s, rng)
	}
	if st := l.Stats(); st.Bytes < diskBytes(t, fs)-1<<20 || st.Bytes > diskBytes(t, fs) {
		t.Errorf("%d bytes are reported, there are %d", st.Bytes, diskBytes(t, fs))
	}
}

// Every failing operation, and a power cut behind it, leaves what is live.
func TestReclaimCrash(t *testing.T) {
	rng := seeded.Rand(t)
	for n := int64(1); ; n++ {
		mem := newFS(t)
		fault := vfs.NewFault(mem, 0, errors.New("cut"))
		l := open(t, fault)
		all := fillLog(t, l, rng, 24)
		var left []*Shard
		for i, s := range all {
			if i%3 == 0 {
				left = append(left, s)
			} else {
				l.Discard(s.ID)
			}
		}
		fault.FailAt(fault.Count() + n)
		var err error
		for freed := int64(1); err == nil && freed > 0; {
			freed, err = l.Reclaim(context.Background(), 0.15, func(int64) {})
		}
		next := mem.Crash(rand.New(rand.NewPCG(rng.Uint64(), 3)))
		l.Close()
		l = open(t, next)
		for _, d := range l.Damaged() {
			if d.Len > 0 { // a torn footer has none: the records before it are there
				t.Fatalf("operation %d: %v", n, d)
			}
		}
		for _, s := range left {
			check(t, l, s, rng)
		}
		l.Close()
		if err == nil {
			t.Logf("%d operations", n)
			return
		}
	}
}

// Space beside tombstones comes back, too, without end to nothing; what was
// deleted stays so, also after a restart.
func TestReclaimBesideTombstones(t *testing.T) {
	rng := seeded.Rand(t)
	fs := newFS(t)
	l := open(t, fs)
	all := fillLog(t, l, rng, 80)
	var left, gone []*Shard
	for i, s := range all {
		if i < 20 || rng.IntN(4) == 0 {
			left = append(left, s)
			continue
		}
		if err := l.Delete(context.Background(), s.ID); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, s)
		if i%2 == 0 { // so that tombstones lie in files with live records
			more := shard(rng, "g", uint64(1000+i))
			put(t, l, more)
			left = append(left, more)
		}
	}
	before := diskBytes(t, fs)
	for n := 0; ; n++ {
		freed, err := l.Reclaim(context.Background(), 0.15, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		if freed == 0 {
			break
		}
		if n > 100 {
			t.Fatalf("no end: %+v", l.Usage())
		}
	}
	t.Logf("%d bytes on disk, %d before; %+v", diskBytes(t, fs), before, l.Usage())
	if u := l.Usage(); u.Bytes-u.Live > u.Bytes*15/100 {
		t.Errorf("the space did not come back: %+v", u)
	}
	for range 2 {
		for _, s := range left {
			check(t, l, s, rng)
		}
		for _, s := range gone {
			if has(t, l, s.ID) {
				t.Fatalf("%s is back", s.ID)
			}
		}
		l.Close()
		l = open(t, fs)
	}
}
