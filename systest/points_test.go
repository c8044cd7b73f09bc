package systest

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// T1: for every offered point, the disks at the point are the model's.
func TestAnyPointIsTheModels(t *testing.T) {
	b := newBed(t)
	from := b.head().LSN
	b.change(sized(20000, 2000))
	to := b.safe().LSN
	for i := range sized(20, 5) {
		p := redoubt.Position{Epoch: 1, LSN: from + redoubt.LSN(b.rng.Uint64N(uint64(to-from)+1))}
		b.judgePoint(b.site.Targets[i%len(b.site.Targets)], p)
	}
	b.judgeSource()
}
