package cluster

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

func TestUnreadableEntryStopsTheNode(t *testing.T) {
	var told error
	f := &fsm{machine: catalog.NewStateMachine(), fatal: func(err error) { told = err }, applied: func(catalog.Command) {}}
	good := catalog.EncodeEnvelope(catalog.Envelope{Client: catalog.ClientID{1}, Serial: 1, Floor: 1, Cmd: catalog.PutNode{Node: catalog.NodeInfo{ID: "n1", Addr: "a:1", Instance: "i"}}})
	newer := bytes.Clone(good)
	newer[2]++ // the version
	if r := f.Apply(&raft.Log{Index: 1, Data: newer}); !errors.Is(r.(error), redoubt.ErrVersion) || !errors.Is(told, redoubt.ErrVersion) {
		t.Fatalf("got %v, told %v", r, told)
	}
	if r, ok := f.Apply(&raft.Log{Index: 2, Data: good}).(error); !ok || len(f.machine.Catalog().Nodes()) != 0 {
		t.Fatalf("went on after a skipped entry: %v", r)
	}
	if _, err := f.Snapshot(); err == nil {
		t.Error("a snapshot without the entry was made")
	}
}
