// Package catalog is what a secondary site agrees on: the nodes, the protection
// groups with their lineage of epochs, and the manifest of every segment. It is a
// state machine without I/O, clock or Raft: commands change it in one order, and
// the same order gives the same catalog on every node.
//
// The way of a command: command.go frames it, machine.go and apply.go apply it
// once to the state (state.go, history.go), outcome.go encodes what it came to.
// What each command checks stands with the command (cmd_*.go); what a failover
// may do in which state stands in one table (transitions.go). Readers use Catalog
// (catalog.go, and *_read.go). snapshot*.go write and load the whole.
package catalog
