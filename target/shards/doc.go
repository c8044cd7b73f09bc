// Package shards is where the shards of segments lie and how they get there:
// erasure coding, placement on the nodes, and reads and writes of shards on this
// node and the others.
//
// A Site puts a shard on a node, reads a range of a segment from the nodes that
// have it, or computes it from others, and answers the same calls of other nodes.
// Whoever holds a shard verifies it before it answers. See DESIGN.md.
package shards
