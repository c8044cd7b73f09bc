// Package repair makes this node's part of the site whole again: it finds the
// shards that the catalog names here and the shard log has not, rebuilds each from
// k others, and takes over those that are planned to move here.
//
// It goes no faster than ingest allows, and lets other nodes' repair read here at
// the same pace. See DESIGN.md.
package repair
