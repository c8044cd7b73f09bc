// Package history says what there is of a group's past: which recovery points,
// which of them is meant, what was written between two of them, and what a
// retained point shows. It changes nothing, and reads no more than heads.
package history
