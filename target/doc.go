// Package target keeps the history of protection groups at the secondary site
// and opens any point of it.
//
// A Store is one node's part of that. For the groups that the node owns it is
// the sink of their streams: a delta becomes a segment, erasure-coded over the
// nodes' shard logs, and exists once the cluster has committed its manifest.
// On every node the Store follows the catalog, keeps the point-in-time index,
// rebuilds the shards that the node should have, and reads any committed point
// through a View.
package target
