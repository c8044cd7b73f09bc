// Package rpc carries calls between nodes: many requests and answers at once
// over one connection of wire frames. Deadlines and cancels travel, root
// sentinels survive the trip. It is for shards and Raft proposals of up to
// MaxBody bytes, not for operators. See DESIGN.md.
package rpc
