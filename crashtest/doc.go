// Package crashtest judges the crash contract of the protected disk: no flushed
// or FUA write is lost by a power cut, no acknowledged write by kill -9, and
// what is found afterwards is a prefix of the acknowledged order. It runs the
// real journal and the real blockdev.Group, on simulated disks that lose, tear
// and reorder what was not synced, and in processes that are killed on the
// user's own disk and kernel. The judge is shown red by broken variants. See
// DESIGN.md.
package crashtest
