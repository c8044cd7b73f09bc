package ship

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// lender has some of the records in memory, which it spoils when they are given
// back, and counts what it lent.
type lender struct {
	mu     sync.Mutex
	rng    *rand.Rand
	ws     []redoubt.Write // from LSN 1
	loans  int
	out    int
	denied int
}

func (l *lender) Recent(dst []redoubt.Write, from redoubt.LSN, maxBytes int) ([]redoubt.Write, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(from) > len(l.ws) || l.rng.IntN(4) == 0 {
		l.denied++
		return nil, nil
	}
	dst = dst[:0]
	for bytes := 0; int(from) <= len(l.ws) && (len(dst) == 0 || bytes < maxBytes); from++ {
		w := l.ws[from-1]
		w.Data = slices.Clone(w.Data)
		dst = append(dst, w)
		bytes += len(w.Data)
	}
	l.loans++
	l.out++
	lent := slices.Clone(dst)
	return dst, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out--
		for i := range lent {
			for k := range lent[i].Data {
				lent[i].Data[k] ^= 0xff
			}
		}
	}
}

// Records come from memory and from the journal by turns; nobody looks at what
// was given back, and everything is.
func TestRecordsFromMemory(t *testing.T) {
	const records = 400 // some hundred deltas
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	rec.durable = j.Durable
	l := &lender{rng: rand.New(rand.NewPCG(rng.Uint64(), 1))}
	l.ws = fill(t, rng, j, records, 100_000)
	o := w.options(j, w.receive(rec, "n1"))
	o.Recent = l
	_, stop := w.run(o)
	rec.awaitLSN(records)
	sameWrites(t, rec.writes, normal(l.ws))
	stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loans == 0 || l.denied == 0 || l.out != 0 {
		t.Errorf("%d loans, %d denied, %d not given back", l.loans, l.denied, l.out)
	}
}
