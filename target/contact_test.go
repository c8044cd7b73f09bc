package target

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// An older word of a writer that comes late changes nothing. When an owner's clock
// is set back, or the name goes to another group, the present word counts soon.
func TestContactsAfterAClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{contacts: map[redoubt.GroupID]Contact{}}
		now := time.Now()
		said := func(what string, c Contact, head redoubt.LSN, last time.Time) {
			t.Helper()
			s.learnContact("shop", c)
			if h, _, l := s.Head("shop"); h != head || !l.Equal(last) {
				t.Errorf("%s: it is said to be at %d, heard of at %s; not at %d, %s", what, h, l, head, last)
			}
		}
		ahead := now.Add(10 * 365 * 24 * time.Hour)
		said("ten years ahead", Contact{UUID: "u", Epoch: 2, Head: 10, Last: ahead.UnixNano()}, 10, ahead)
		said("late", Contact{UUID: "u", Epoch: 2, Head: 12, Last: now.UnixNano()}, 10, ahead)
		time.Sleep(lagFresh)
		said("set back", Contact{UUID: "u", Epoch: 2, Head: 12, Last: now.UnixNano()}, 12, now)
		said("on its way for long", Contact{UUID: "u", Epoch: 2, Head: 11, Last: now.Add(1).UnixNano()}, 12, now.Add(1))
		said("another group", Contact{UUID: "v", Epoch: 1, Head: 3, Last: now.UnixNano()}, 3, now)
	})
}
