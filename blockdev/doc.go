// Package blockdev turns requests of NBD clients into the ordered writes of a
// protection group, and keeps the protected disks readable and up to date.
//
// A Group is all disks of one protection group over one journal.Journal. A
// write is acknowledged when the journal has it; it lives in memory (the
// overlay) until the applier has written it to the Backing, synced that, and
// moved the journal's applied mark. A Volume is one disk of a Group. A Server
// exports Volumes over NBD. Attach makes a kernel device of an export.
//
// The same Volume serves both sites: at the source its Backing is an Image, at
// the secondary it is a view of the past.
package blockdev
