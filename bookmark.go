package redoubt

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// Bookmark is what the data of a record of KindBookmark says: the point right
// after the record has a name.
type Bookmark struct {
	Name string
	// App: every freeze hook had succeeded and everything was frozen when the
	// record entered the order. Otherwise the point is crash-consistent.
	App bool
	// Set, if not zero, says that bookmarks of several groups exist together or
	// not at all: this one does once the secondary's catalog knows the set.
	Set SetID
}

// SetID names a set of bookmarks of several groups. It is random.
type SetID [16]byte

// IsZero reports whether s names no set.
func (s SetID) IsZero() bool { return s == SetID{} }

// String returns 32 hexadecimal digits.
func (s SetID) String() string { return hex.EncodeToString(s[:]) }

// ParseSetID reads what String returns.
func ParseSetID(s string) (id SetID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return SetID{}, &Error{Op: "parse set of bookmarks", Object: s, Err: ErrInvalid}
	}
	return SetID(b), nil
}

// The encoding of a bookmark:
//
//	+------+---+-------+----------------+
//	| name | 0 | flags | set, 16 bytes  |
//	+------+---+-------+----------------+
//
// A bookmark without flags is its name alone. Flag 1: App. Flag 2: the set follows.
const (
	bookmarkApp = 1
	bookmarkSet = 2
)

// Encode returns the record's data; ParseBookmark reads it.
func (b Bookmark) Encode() []byte {
	out := []byte(b.Name)
	flags := byte(0)
	if b.App {
		flags |= bookmarkApp
	}
	if !b.Set.IsZero() {
		flags |= bookmarkSet
	}
	if flags == 0 {
		return out
	}
	out = append(out, 0, flags)
	if flags&bookmarkSet != 0 {
		out = append(out, b.Set[:]...)
	}
	return out
}

// ParseBookmark reads a record's data. ErrCorrupt if it is none, ErrVersion if
// it says something that this version does not know.
func ParseBookmark(data []byte) (Bookmark, error) {
	name, rest, more := bytes.Cut(data, []byte{0})
	b := Bookmark{Name: string(name)}
	fail := func(what string, cause error) (Bookmark, error) {
		return Bookmark{}, &Error{Op: "read bookmark", Err: fmt.Errorf("%s: %w", what, cause)}
	}
	if err := ValidName("bookmark", b.Name); err != nil {
		return fail("its name", ErrCorrupt)
	}
	if !more {
		return b, nil
	}
	if len(rest) == 0 || rest[0] == 0 {
		return fail("no flags", ErrCorrupt)
	}
	flags, rest := rest[0], rest[1:]
	if flags&^(bookmarkApp|bookmarkSet) != 0 {
		return fail(fmt.Sprintf("flags %#x", flags), ErrVersion)
	}
	b.App = flags&bookmarkApp != 0
	if flags&bookmarkSet != 0 {
		if len(rest) != len(b.Set) || SetID(rest).IsZero() {
			return fail("its set", ErrCorrupt)
		}
		b.Set, rest = SetID(rest), nil
	}
	if len(rest) != 0 {
		return fail("bytes left over", ErrCorrupt)
	}
	return b, nil
}
