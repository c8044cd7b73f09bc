// Package scrub reads everything that a node keeps, again and again, so that what
// rots where nobody reads is found while it can still be rebuilt: every record and
// file of the shard log, and every block of the index. It deletes shards that no
// manifest will ever name. Its place survives a restart (docs/formats/scrub.md).
package scrub
