// Command bench compares a protected disk with what a user would have without
// Redoubt: a loop device on the same file system, and other NBD servers on the
// same kind of file. Run it with `go run ./bench`; see DESIGN.md for what the
// numbers mean.
package main
