// Package cluster agrees, through Raft, on what exists at the secondary site,
// where it lies, and who may write: the catalog (package catalog). Block data
// never passes through here.
//
// The way of a command: Node.Propose gives it a client id and a serial
// (session.go) and sends it to the leader (propose.go), Raft commits it (node.go,
// store.go, transport.go), and each node's catalog applies it once (fsm.go). Every
// node answers reads from its own copy. The leader replaces owners that died
// (duty.go), lets nodes in and out (members.go, join.go) and has shards move
// (moveduty.go).
package cluster
