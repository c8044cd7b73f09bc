// Package target keeps the history of protection groups at the secondary site
// and opens any point of it.
//
// A Store is one node's part of that. For the groups that the node owns it is
// the sink of their streams: a delta becomes a segment, erasure-coded over the
// nodes' shard logs, and exists once the cluster has committed its manifest.
// On every node the Store follows the catalog into the point-in-time index, and
// puts the rooms together that do the rest: package shards reads and writes
// shards, view reads points, repair, scrub and gc keep the node's log as the
// catalog says, history knows which points there are, and thin lets them go.
package target
