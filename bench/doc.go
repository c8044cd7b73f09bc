// Command bench compares a protected disk with what a user would have without
// Redoubt: a loop device on the same file system, and other NBD servers on the
// same kind of file, with and without replication; it also compares two
// revisions. Run it with `make bench`; see DESIGN.md for what the numbers mean.
package main
