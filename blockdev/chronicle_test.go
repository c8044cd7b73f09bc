package blockdev

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/redoubt-dr/redoubt"
)

// chronicle records what clients did and saw.
type chronicle struct {
	began  time.Time
	serial atomic.Uint64
	count  atomic.Int64
	enough chan struct{} // closed when count has reached limit
	limit  int64

	mu     sync.Mutex
	ops    []porcupine.Operation
	open   []porcupine.Operation // without an answer
	broken []string              // contents that nobody wrote
	kinds  map[uint16]int        // answered requests
}

func (h *chronicle) now() int64 { return int64(time.Since(h.began)) }

// settle ends what has no answer: after now it cannot happen any more.
func (h *chronicle) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.open {
		o.Return = h.now()
		h.ops = append(h.ops, o)
	}
	h.open = nil
}

const (
	historyDisks   = 2
	historySectors = 5 // of each disk that are used; one request may touch several
)

// use sends bursts of requests over one connection until it breaks or one is refused.
func (h *chronicle) use(c *caller, client, disk int, rng *rand.Rand) {
	type sent struct {
		at   int64
		ops  []sectorOp
		call call
	}
	inFlight := map[uint64]sent{}
	killed := false // then more requests would only be refused, each one a doubt more for the judge
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, s := range inFlight {
			h.unanswered(client, s.at, s.ops)
		}
	}()
	for {
		var calls []call
		var ops [][]sectorOp
		for range 1 + rng.IntN(3) {
			r, o := h.request(disk, rng)
			calls, ops = append(calls, r), append(ops, o)
		}
		at := h.now()
		cookies, err := c.post(calls...)
		for i, k := range cookies {
			inFlight[k] = sent{at, ops[i], calls[i]}
		}
		for err == nil && len(inFlight) > 0 {
			var a answered
			if a, err = c.next(); err != nil {
				break
			}
			s := inFlight[a.cookie]
			delete(inFlight, a.cookie)
			h.answered(client, s.at, s.ops, s.call, a)
			killed = killed || a.errno != 0
		}
		if err != nil || killed {
			return
		}
	}
}

func (h *chronicle) request(disk int, rng *rand.Rand) (call, []sectorOp) {
	first := rng.IntN(historySectors)
	n := 1 + rng.IntN(min(3, historySectors-first))
	r := call{off: uint64(first) * redoubt.SectorSize, len: uint32(n * redoubt.SectorSize)}
	var ops []sectorOp
	for s := first; s < first+n; s++ {
		ops = append(ops, sectorOp{disk: disk, sector: s})
	}
	switch k := rng.IntN(20); {
	case k < 9:
		r.typ = cmdRead
	case k < 17:
		r.typ = cmdWrite
		r.flags = uint16(rng.IntN(8) / 7) // FUA
		for i := range ops {
			ops[i].write, ops[i].value = true, h.serial.Add(1)
			for range redoubt.SectorSize / 8 {
				r.payload = binary.BigEndian.AppendUint64(r.payload, ops[i].value)
			}
		}
	case k < 19:
		r.typ = cmdTrim + uint16(rng.IntN(2))*(cmdWriteZeroes-cmdTrim)
		for i := range ops {
			ops[i].write = true
		}
	default:
		return call{typ: cmdFlush}, nil
	}
	return r, ops
}

func (h *chronicle) answered(client int, at int64, ops []sectorOp, r call, a answered) {
	end := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.errno != 0 { // the group was killed under the server
		h.unanswered(client, at, ops)
		return
	}
	h.kinds[r.typ]++
	for i, op := range ops {
		o := porcupine.Operation{ClientId: client, Input: op, Call: at, Return: end}
		if !op.write {
			p := a.data[i*redoubt.SectorSize : (i+1)*redoubt.SectorSize]
			v := binary.BigEndian.Uint64(p)
			for k := 0; k < len(p); k += 8 {
				if w := binary.BigEndian.Uint64(p[k:]); w != v {
					h.broken = append(h.broken, fmt.Sprintf("disk %d sector %d begins with %d, holds %d at byte %d", op.disk+1, op.sector, v, w, k))
					break
				}
			}
			o.Output = v
		}
		h.ops = append(h.ops, o)
	}
	if h.count.Add(1) == h.limit {
		close(h.enough)
	}
}

// unanswered notes the writes of a request that got no answer; the caller holds h.mu.
func (h *chronicle) unanswered(client int, at int64, ops []sectorOp) {
	for _, op := range ops {
		if op.write {
			op.unsure = true
			h.open = append(h.open, porcupine.Operation{ClientId: client, Input: op, Call: at})
		}
	}
}
