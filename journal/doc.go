// Package journal remembers every write of a protection group, in order, until
// it is applied to the disks and safe at the secondary site.
//
// Payload lives in recycled, pre-written segment files (see the formats in
// docs/formats/journal.md); the few facts that must never be lost live in one
// small file that is replaced atomically; Badger holds an index that only
// makes opening fast and may be deleted at any time.
package journal
