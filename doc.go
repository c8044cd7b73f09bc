// Package redoubt holds the nouns that every room of Redoubt must name
// identically: positions in a group's history, the writes that make it, the
// names of groups, disks and nodes, and the errors that cross rooms. It imports
// the standard library only and does no I/O.
package redoubt
