// Package freeze brings applications and file systems to rest for a moment, so
// that what lies on the disks is as after a clean stop, and always lets them go
// on again.
//
// The order is: the freeze scripts by name, then the mount points as they are
// listed (FIFREEZE: the file system writes everything out and takes no further
// write); then whatever is to happen at rest; then the mount points and the
// scripts in the opposite order. Every step has a time limit, all of it has
// another, at whose end everything is thawed whoever is still busy with it.
//
// Before anything is frozen a note of it is made durable. It goes away when
// everything is thawed. Open thaws what a note of an earlier life names.
package freeze
