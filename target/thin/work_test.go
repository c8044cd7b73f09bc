package thin

import (
	"reflect"
	"testing"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Stretches that touch melt, those of other epochs do not; too many of them are
// melted where the least is looked at in vain, and none is ever left out.
func TestJoin(t *testing.T) {
	got := join([]catalog.Work{{Epoch: 2, From: 0, To: 4}, {Epoch: 1, From: 7, To: 9}, {Epoch: 1, From: 0, To: 3}, {Epoch: 1, From: 3, To: 7}, {Epoch: 1, From: 1, To: 2}, {Epoch: 1, From: 11, To: 12}})
	want := []catalog.Work{{Epoch: 1, From: 0, To: 9}, {Epoch: 1, From: 11, To: 12}, {Epoch: 2, From: 0, To: 4}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	var many []catalog.Work
	for i := range uint64(3 * catalog.MaxWork) {
		many = append(many, catalog.Work{Epoch: 1, From: 3 * i, To: 3*i + 1})
	}
	many = append(many, catalog.Work{Epoch: 1, From: 1 << 20, To: 1<<20 + 5})
	got = join(many)
	if len(got) > catalog.MaxWork {
		t.Fatalf("%d stretches", len(got))
	}
	for _, m := range many {
		in := false
		for _, w := range got {
			in = in || m.Epoch == w.Epoch && m.From >= w.From && m.To <= w.To
		}
		if !in {
			t.Fatalf("%+v is left out", m)
		}
	}
	if last := got[len(got)-1]; last.From != 1<<20 || last.To != 1<<20+5 {
		t.Errorf("what lies far off was melted: %+v", last)
	}
}
