package journal

import (
	"reflect"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

func TestSaveBranch(t *testing.T) {
	w := newWorld(t, 1, vfs.NewMem())
	w.mustOpen()
	for w.last < 500 {
		if err := w.append(30, 16<<10); err != nil {
			t.Fatal(err)
		}
		if w.last > 250 && w.j.Epoch() == 1 {
			if err := w.j.SetEpoch(3); err != nil {
				t.Fatal(err)
			}
		}
		ws := w.randomWrites(250, 1024)
		for i := range ws {
			ws[i].LSN, ws[i].Time = w.last+1, w.j.HeadTime()
		}
		if err := w.j.AppendReplica(w.j.Epoch(), ws); err != nil {
			t.Fatal(err)
		}
		w.keep(ws)
	}
	const after = 100
	info, err := w.j.SaveBranch("/branch", after)
	if err != nil {
		t.Fatal(err)
	}
	if info.After != (redoubt.Position{Epoch: 1, LSN: after}) || info.Head != w.j.Head() || info.First != after+1 || info.Last != w.last {
		t.Fatalf("%+v", info)
	}
	_, err = w.j.SaveBranch("/branch", after)
	wantErr(t, err, redoubt.ErrExists)
	empty, err := w.j.SaveBranch("/empty", w.last)
	if err != nil || empty.Records != 0 || empty.First <= empty.Last {
		t.Fatal(empty, err)
	}
	mem := w.fs.(*vfs.Mem).Crash(w.rng) // it is durable
	_ = w.j.Close()
	if r, err := VerifyFS(mem, "/branch"); err != nil || r.Last != w.last || r.Records != info.Records {
		t.Fatal(r, err)
	}
	found, err := DescribeBranch("/branch", Options{FS: mem})
	found.After.Epoch = info.After.Epoch // the branch does not say
	if err != nil || !reflect.DeepEqual(found, info) {
		t.Fatalf("%v: %+v, want %+v", err, found, info)
	}
	b, err := OpenBranch("/branch", Options{FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	w.j, w.low = b, after+1
	w.verify(w.last)
	if b.Head() != info.Head {
		t.Fatal(b.Head())
	}
	wantErr(t, b.Append([]redoubt.Write{{Kind: redoubt.KindTrim}}), redoubt.ErrReadOnly)
	wantErr(t, b.PutState("k", nil), redoubt.ErrReadOnly)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// A power cut at every operation leaves no branch or a whole one, and the next
// attempt succeeds.
func TestSaveBranchCrash(t *testing.T) {
	for n := int64(1); ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem, 0, errDisk)
		fault.StayDown()
		w := newWorld(t, uint64(n), fault)
		w.o.noSpare = true
		w.mustOpen()
		for w.last < 60 {
			if err := w.append(10, 4096); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.j.Sync(ctx, w.last); err != nil {
			t.Fatal(err)
		}
		fault.FailAt(fault.Count() + n)
		_, err := w.j.SaveBranch("/branch", 10)
		cut := mem.Crash(w.rng)
		_ = w.j.Close()
		w.fs = cut
		w.mustOpen()
		if _, serr := cut.Stat("/branch"); serr != nil {
			if err == nil {
				t.Fatalf("operation %d: the branch is lost", n)
			}
			if _, err := w.j.SaveBranch("/branch", 10); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := VerifyFS(cut, "/branch"); err != nil || r.Last != w.last {
			t.Fatal(n, r, err)
		}
		if cerr := w.j.Close(); cerr != nil {
			t.Fatal(cerr)
		}
		if err == nil {
			return
		}
	}
}
