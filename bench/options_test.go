package main

import "testing"

func TestQuickLeavesWhatIsGiven(t *testing.T) {
	o, err := parse([]string{"-quick", "-seconds", "7"})
	if err != nil || o.rounds != 3 || o.seconds != 7 || o.long != 1<<30 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.rounds != 5 || o.size != 512<<20 || o.long != 4<<30 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-rounds", "0"}, {"extra"}, {"-match", "("}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Another folder of the same file system is not another disk.
func TestTwoDisks(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	if (options{dir: a, journalDir: b}).twoDisks() || (options{dir: a}).twoDisks() {
		t.Error("one file system is taken for two disks")
	}
	if !(options{dir: a, journalDir: "/proc"}).twoDisks() {
		t.Error("two file systems are taken for one disk")
	}
}
