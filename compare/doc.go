// Package compare finds where two copies of a group's disks differ, by hashes,
// so that equal blocks never cross the link. A Server hashes the disks as they
// are at a position, a Client asks it, and Verify compares them with disks that
// are written to meanwhile. The protocol is docs/formats/compare.md.
package compare
