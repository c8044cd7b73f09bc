package systest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// asked is how an operator asks for each operation of the table.
var asked = map[string][]string{
	"Protect":             {"group", "protect", groupName},
	"Unprotect":           {"group", "unprotect", groupName},
	"Pause":               {"group", "pause", groupName},
	"Resume":              {"group", "resume", groupName},
	"TestFailover":        {"failover", "test", groupName},
	"PlannedFailover":     {"failback", groupName},
	"UnplannedFailover":   {"failover", "unplanned", groupName},
	"ChangeRecoveryPoint": {"failover", "change", groupName},
	"Commit":              {"failover", "commit", groupName},
	"Cancel":              {"failover", "cancel", groupName},
	"ReverseReplicate":    {"reverse", groupName},
}

// On the way through the states a group is asked, in each, for all that the
// state does not allow: every time it is refused with the reason and a hint, and
// nothing of the group changes.
func TestWhatIsNotAllowedIsRefused(t *testing.T) {
	b := newBed(t)
	tgt := b.site.Targets[0]
	b.change(100)
	b.safe()
	do := func(args ...string) { b.Helper(); b.must(b.site.Call(b.ctx, tgt, nil, args...)) }

	b.refuses(tgt, "Protected")
	do("group", "pause", groupName)
	b.refuses(tgt, "Paused")
	do("group", "unprotect", groupName)
	b.refuses(tgt, "Unprotected")
	do("group", "protect", groupName)
	b.inStateAt(tgt, "Protected")
	do("failover", "unplanned", groupName)
	b.refuses(tgt, "FailoverCommitPending")
	do("failover", "commit", groupName)
	b.refuses(tgt, "FailedOver")
	b.inStateAt(b.site.Source, "Fenced")
	do("reverse", groupName)
	b.refuses(tgt, "ReverseReplicating", "UnplannedFailover", "ReverseReplicate")
	do("group", "pause", groupName)
	b.refuses(tgt, "Paused", "UnplannedFailover")
	do("group", "resume", groupName)
	do("failback", groupName)
	b.refuses(tgt, "Protected")
}

// refuses asks for all that the state does not allow. special are operations
// that the table allows and this node refuses, or the other way round: a failover
// away from the secondary, and reverse again, which only looks.
func (b *bed) refuses(n *site.Node, state string, special ...string) {
	b.Helper()
	b.inStateAt(n, state)
	before := b.record(n)
	for op, args := range asked {
		if slices.Contains(before.AllowedOperations, op) != slices.Contains(special, op) {
			continue
		}
		err := b.site.Call(b.ctx, n, nil, append(slices.Clone(args), "--timeout", "10s")...)
		if err == nil || !strings.Contains(err.Error(), `"reason":"state"`) || !strings.Contains(err.Error(), `"hint":"`) || strings.Contains(err.Error(), `"hint":""`) {
			b.Errorf("%s in %s: %v", op, state, err)
		}
	}
	if after := b.record(n); !proto.Equal(before, after) {
		b.Errorf("in %s refused operations changed\n%v\nto\n%v", state, before, after)
	}
}

// record is what the catalog keeps of the group, as far as status shows it.
func (b *bed) record(n *site.Node) *adminv1.Group {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, n)
	b.must(err)
	if g == nil {
		b.Fatal(fmt.Errorf("no group"))
	}
	return &adminv1.Group{Id: g.Id, Uuid: g.Uuid, State: g.State, AllowedOperations: g.AllowedOperations, Epoch: g.Epoch, Lineage: g.Lineage,
		Writer: g.Writer, BaselineLsn: g.BaselineLsn, Promotion: g.Promotion, Standing: g.Standing}
}
