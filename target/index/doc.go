// Package index says where the newest bytes of any extent lie at any point of
// a group's history.
//
// A segment's entries are a run. Runs of one epoch are merged in the
// background over aligned ranges of ordinals whose sizes are powers of the
// fan-in (a power of two), newer entries cutting away what they overwrite. So
// every prefix of an epoch, and with it every recovery point, is the overlay
// of O(log n) runs, each a small B-tree of checksummed blocks. Runs are never
// changed; a merged run that is lost or rotten is built again from smaller
// ones, down to the heads in the shard log.
package index
