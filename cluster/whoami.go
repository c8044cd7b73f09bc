package cluster

import (
	"bytes"
	"encoding/json"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// maxIdentity bounds node.json, in bytes.
const maxIdentity = 4 << 10

// readIdentity reads the identity of a node's folder as it was written, with
// nothing beside it.
func readIdentity(dir string) (v identity, err error) {
	path := filepath.Join(dir, identityFile)
	b, err := readUpTo(path, maxIdentity)
	if err != nil {
		return v, fail("read node identity", path, err, "is this the cluster folder of a target node?")
	}
	if v, err = decodeIdentity(b); err == nil {
		if again, merr := json.Marshal(v); merr != nil || !bytes.Equal(again, b) {
			err = damaged("not as it was written: %.60q", b)
		}
	}
	if err != nil {
		return v, fail("verify node identity", path, err, "")
	}
	return v, nil
}

// names collects under which instances nodes were named in snapshots and log.
type names map[redoubt.NodeID]map[string]bool

func (n names) add(info catalog.NodeInfo) {
	if info.Instance == "" {
		return // invited, and never seen
	}
	if n[info.ID] == nil {
		n[info.ID] = map[string]bool{}
	}
	n[info.ID][info.Instance] = true
}

func (n names) command(c catalog.Command) {
	switch c := c.(type) {
	case catalog.PutNode:
		n.add(c.Node)
	case catalog.AnnounceNode:
		n.add(c.Node)
	}
}

// check holds an identity against what the node's own copy of the catalog says.
// A node of which it says nothing has not come in yet.
func (n names) check(v identity) error {
	for id, instances := range n {
		if instances[v.Instance] != (id == v.ID) {
			return damaged("node %s with instance %s, while the catalog has others: node %s", v.ID, v.Instance, id)
		}
	}
	return nil
}
