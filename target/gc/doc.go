// Package gc collects garbage in a node's shard log: shards that the catalog names
// no more, and never will again. A Claim is the judgement, which the scrub asks
// for, too; the Collector forgets what is dead and gives back the space.
package gc
