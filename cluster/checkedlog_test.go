package cluster

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/verifier"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// logUnderTest is a node's log on a disk, and what its verifier says.
type logUnderTest struct {
	*checkedLog
	t       *testing.T
	reports chan verifier.VerificationReport
}

func newLogUnderTest(t *testing.T) *logUnderTest {
	w, err := wal.Open(t.TempDir())
	noErr(t, err)
	l := &logUnderTest{t: t, reports: make(chan verifier.VerificationReport, 16)}
	l.checkedLog = newCheckedLog(w, func(r verifier.VerificationReport) { l.reports <- r })
	t.Cleanup(func() { noErr(t, l.Close()) })
	return l
}

// entries are commands from one index to another, both included, of a term.
func entries(from, to, term uint64) []*raft.Log {
	var es []*raft.Log
	for i := from; i <= to; i++ {
		es = append(es, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: []byte{byte(i), byte(term)}})
	}
	return es
}

func checkpointAt(i, term uint64) []*raft.Log {
	return []*raft.Log{{Index: i, Term: term, Type: raft.LogCommand, Data: catalog.EncodeEnvelope(catalog.Envelope{})}}
}

// store appends copies: an entry is the log's own.
func (l *logUnderTest) store(es []*raft.Log) {
	l.t.Helper()
	var own []*raft.Log
	for _, e := range es {
		c := *e
		own = append(own, &c)
	}
	noErr(l.t, l.StoreLogs(own))
	for i, e := range own {
		es[i].Extensions = e.Extensions // the leader's sum, which goes to the followers
	}
}

// verdict waits for what the verifier says of the next checkpoint.
func (l *logUnderTest) verdict() verifier.VerificationReport {
	l.t.Helper()
	select {
	case r := <-l.reports:
		return r
	case <-time.After(10 * time.Second):
		l.t.Fatal("no verdict")
		panic("unreachable")
	}
}

// replicate appends entries at the leader and then, with its sums, at the follower.
func replicate(leader, follower *logUnderTest, es []*raft.Log) {
	leader.store(es)
	follower.store(es)
}

// Entries that Raft takes back after a change of leaders, at whichever node, and
// a log whose place a snapshot takes, are no damage; what comes after them is
// judged again.
func TestEntriesTakenBackAreNoDamage(t *testing.T) {
	for name, c := range map[string]func(leader, follower *logUnderTest){
		"at a follower": func(leader, follower *logUnderTest) {
			follower.store(entries(16, 18, 1))
			noErr(t, follower.DeleteRange(16, 18))
		},
		"at who leads now": func(leader, follower *logUnderTest) {
			leader.store(entries(16, 18, 1))
			noErr(t, leader.DeleteRange(16, 18))
		},
		"by a snapshot": func(leader, follower *logUnderTest) {
			leader.store(entries(16, 18, 2))
			noErr(t, follower.DeleteRange(2, 15))
			next := entries(19, 22, 2)
			replicate(leader, follower, append(next, checkpointAt(23, 2)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			leader, follower := newLogUnderTest(t), newLogUnderTest(t)
			replicate(leader, follower, slices.Concat(entries(2, 9, 1), checkpointAt(10, 1), entries(11, 15, 1)))
			for _, l := range []*logUnderTest{leader, follower} {
				if r := l.verdict(); r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			c(leader, follower)
			last, err := leader.LastIndex()
			noErr(t, err)
			if last == 15 {
				replicate(leader, follower, append(entries(16, 22, 2), checkpointAt(23, 2)...))
			}
			for _, l := range []*logUnderTest{leader, follower} {
				var mismatch verifier.ErrChecksumMismatch
				if r := l.verdict(); errors.As(r.Err, &mismatch) {
					t.Errorf("a sound log was called corrupt: %v", r.Err)
				}
			}
			replicate(leader, follower, append(entries(24, 30, 2), checkpointAt(31, 2)...))
			for _, l := range []*logUnderTest{leader, follower} {
				if r := l.verdict(); r.Err != nil || r.Range.Start != 23 || r.WrittenSum == 0 {
					t.Errorf("%v: %v", r.Range, r.Err)
				}
			}
			// And damage on the way is damage.
			es := append(entries(32, 38, 2), checkpointAt(39, 2)...)
			leader.store(es)
			es[3].Data = []byte("flipped")
			follower.store(es)
			var mismatch verifier.ErrChecksumMismatch
			if r := follower.verdict(); !errors.As(r.Err, &mismatch) {
				t.Errorf("damage was not seen: %v", r.Err)
			}
		})
	}
}
