package catalog

import (
	"slices"

	"github.com/redoubt-dr/redoubt"
)

const (
	// MaxBookmarks is the largest number of bookmarks of one group that have a
	// name. With more the oldest lose theirs; their points stay as long as
	// retention says.
	MaxBookmarks = 1 << 17
	// MaxSets is the largest number of sets of bookmarks.
	MaxSets = 1 << 14
	// MaxMembers is the largest number of groups of one set.
	MaxMembers = 256
	// marksChunk is how many bookmarks one record of a snapshot holds.
	marksChunk = 4096
)

// Bookmark is a point with a name.
type Bookmark struct {
	Position redoubt.Position `json:"position"`
	Time     int64            `json:"time"` // of the record, Unix nanoseconds
	redoubt.Bookmark
}

// Set is a set of bookmarks that exist together.
type Set struct {
	ID      redoubt.SetID `json:"-"`
	Name    string        `json:"name"`
	Time    int64         `json:"time"`    // when the last hold began, Unix nanoseconds
	Barrier int64         `json:"barrier"` // nanoseconds from the first hold to the last release
	Members []SetMember   `json:"members"` // by group
}

// SetMember is one group's bookmark of a Set.
type SetMember struct {
	Group    redoubt.GroupID  `json:"group"`
	Position redoubt.Position `json:"position"`
}

func (s *Set) has(g redoubt.GroupID, p redoubt.Position) bool {
	return slices.Contains(s.Members, SetMember{g, p})
}

// shown reports whether a bookmark exists for those who look: one of a set does
// from the commit of the set on.
func (s *state) shown(g redoubt.GroupID, b *Bookmark) bool {
	if b.Set.IsZero() {
		return true
	}
	set, ok := s.sets[b.Set]
	return ok && set.has(g, b.Position)
}

func findMark(bs []Bookmark, p redoubt.Position) (int, bool) {
	return slices.BinarySearchFunc(bs, p, func(b Bookmark, p redoubt.Position) int { return b.Position.Compare(p) })
}

// Bookmarks returns the bookmarks of a stretch of a group's history that match,
// the newest first, at most limit of them. Finding the stretch takes O(log n).
// Their points may be gone, or not committed yet.
func (c *Catalog) Bookmarks(id redoubt.GroupID, st redoubt.Stretch, limit int, match func(*Bookmark) bool) (out []Bookmark) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	bs := c.s.marks[id]
	for i, _ := findMark(bs, redoubt.Position{Epoch: st.Epoch, LSN: st.To + 1}); i > 0 && len(out) < limit; i-- {
		b := &bs[i-1]
		if b.Position.Epoch != st.Epoch || b.Position.LSN <= st.From {
			break
		}
		if c.s.shown(id, b) && (match == nil || match(b)) {
			out = append(out, *b)
		}
	}
	return out
}

// Set returns the set of bookmarks with this id.
func (c *Catalog) Set(id redoubt.SetID) (Set, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.s.sets[id]
	if !ok {
		return Set{}, false
	}
	return *s, true
}
