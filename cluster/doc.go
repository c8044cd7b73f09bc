// Package cluster agrees, through Raft, on what exists at the secondary site,
// where it lies, and who may write.
//
// Its heart is the catalog: the registered nodes, the protection groups with
// their lineage of epochs, and the manifest of every segment. Commands change
// the catalog in one order on all nodes (Node.Propose); every node answers
// reads from its own copy (Catalog). Block data never passes through here.
//
// The way of a command: Node.Propose gives it a client id and a serial, sends it to
// the leader (propose.go), Raft commits it (node.go, store.go, transport.go), the
// FSM applies it once (fsm.go) to the state (state.go, history.go). What each
// command checks stands with the command (cmd_*.go); what a failover may do in
// which state stands in one table (failover.go). The leader replaces owners
// that died (duty.go).
package cluster
