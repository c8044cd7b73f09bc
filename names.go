package redoubt

import (
	"strconv"
)

// GroupID names a protection group. It is unique at the secondary site.
type GroupID string

// NodeID names a master target.
type NodeID string

// DiskID numbers a disk within its group, from 1. A number is never used again.
type DiskID uint16

// String returns the decimal form.
func (d DiskID) String() string { return strconv.Itoa(int(d)) }

// Disk is a protected disk as both sites know it.
type Disk struct {
	ID   DiskID `json:"id"`
	Name string `json:"name"`
	Size uint64 `json:"size"` // bytes, a multiple of SectorSize
}

// ValidName checks a name of a group, disk, node or export: one to 64
// characters of A-Z a-z 0-9 . _ -, and not "." or "..". So a name is safe as
// one element of a path.
func ValidName(what, s string) error {
	ok := len(s) >= 1 && len(s) <= 64 && s != "." && s != ".."
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if ok {
		return nil
	}
	return &Error{Op: "check " + what, Object: strconv.Quote(s), Err: ErrInvalid,
		Hint: "a name has 1 to 64 characters of A-Z a-z 0-9 . _ -"}
}
