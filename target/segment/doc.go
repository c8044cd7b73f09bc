// Package segment is the shard log of one master target: the append-only
// files in which the shards of all groups' segments lie.
//
// A segment is one encoded delta, cut into k data shards and m parity shards.
// Each node that holds a shard also keeps the delta's head (its entry table and
// block directory), from which the index is built. Shards of many groups go
// into one log, so that one fsync makes all of them durable.
//
// A shard is checksummed in chunks, and each checksum is bound to the shard's
// identity, so that a shard in the wrong place is as wrong as a flipped bit.
// Nothing is returned before its chunks are verified.
package segment
