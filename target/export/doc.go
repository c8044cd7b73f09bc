// Package export turns a recovery point into a writable disk at once, and
// carries a group through failover and the way back.
//
// An Instance is a point that is open: a View of the past, an Overlay for what
// is written since, a journal and a blockdev.Group over both, and an NBD
// socket. A test failover is an Instance that is thrown away. A failover is an
// Instance whose epoch is the group's current one: its own writes are shipped
// into the group's history like those of any source, and reverse replication
// is a second sender on the same journal.
//
// The Manager holds the instances of one node and runs the operations.
package export
