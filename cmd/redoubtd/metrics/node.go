package metrics

import adminv1 "github.com/redoubt-dr/redoubt/admin/v1"

// nodeShelf has what the catalog, and this node, say of the nodes of the secondary site.
func nodeShelf() shelf[*adminv1.ClusterNode] {
	type node = *adminv1.ClusterNode
	s := shelf[node]{prefix: "redoubt_node_", labels: []string{"node", "state", "domain"}}
	s.gauge("alive", "1 if the node answers this one.", func(n node) (float64, bool) { return truth(n.Alive) })
	s.gauge("failed", "1 if its shard log has failed: it takes no shards and owns no groups until it is restarted.", func(n node) (float64, bool) { return truth(n.Failed != "") })
	s.gauge("voter", "1 if the node has a vote in Raft.", func(n node) (float64, bool) { return truth(n.Voter) })
	s.gauge("groups", "Groups that it owns.", func(n node) (float64, bool) { return float64(len(n.Groups)), true })
	s.gauge("shards", "Shards that have their home there.", func(n node) (float64, bool) { return known(n.Shards) })
	s.gauge("shard_bytes", "Bytes of these.", func(n node) (float64, bool) { return known(n.ShardBytes) })
	s.gauge("shards_coming", "Shards on their way to it.", func(n node) (float64, bool) { return known(n.ShardsComing) })
	s.gauge("shards_going", "Shards on their way from it.", func(n node) (float64, bool) { return known(n.ShardsGoing) })
	return s
}
