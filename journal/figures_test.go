package journal

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// Every record is made durable by one commit, and every caller that had to
// wait is served by one.
func TestFiguresOfCommits(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "j"), Options{Create: true, MaxBytes: 64 << 20, Start: redoubt.Position{Epoch: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	durable := j.Durable()
	const callers, each = 8, 20
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				ws := bench4K(3)
				if err := j.Append(ws); err != nil {
					t.Error(err)
				}
				if err := j.Sync(context.Background(), ws[2].LSN); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	f := j.Figures()
	if f.CommitRecords.Sum != callers*each*3 || j.Durable() != durable+callers*each*3 {
		t.Errorf("commits of %d records, %d are durable", f.CommitRecords.Sum, j.Durable()-durable)
	}
	// A caller may find that the commit of others had its records.
	if f.CommitCallers.Sum == 0 || f.CommitCallers.Sum > callers*each {
		t.Errorf("commits of %d callers, want at most %d", f.CommitCallers.Sum, callers*each)
	}
	if st := j.Stats(); f.Fdatasync.Count() != uint64(st.Syncs) || f.Fdatasync.Sum > uint64(st.SyncTime) {
		t.Errorf("%d fdatasyncs in %d ns; the counters have %d in %d", f.Fdatasync.Count(), f.Fdatasync.Sum, st.Syncs, st.SyncTime)
	}
	if len(j.sync.wants) != 0 {
		t.Errorf("%d callers were never served", len(j.sync.wants))
	}
	// One caller after the other: each commit is his alone.
	for range 3 {
		if err := j.Append(bench4K(5)); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(context.Background(), j.Head().LSN); err != nil {
			t.Fatal(err)
		}
	}
	g := j.Figures()
	records, ok1 := g.CommitRecords.Since(f.CommitRecords)
	served, ok2 := g.CommitCallers.Since(f.CommitCallers)
	if !ok1 || !ok2 || records.Count() != 3 || records.Sum != 15 || served.Count() != 3 || served.Sum != 3 {
		t.Errorf("three commits of five records: %+v, %+v", records, served)
	}
}
