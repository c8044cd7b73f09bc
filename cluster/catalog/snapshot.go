package catalog

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// A snapshot is a stream of records, written and read one at a time:
//
//	+------------+---------+-----------+--------+--------+-----+-------+
//	| "RDBTCAT1" | version | header    | nodes  | places | ... | end   |
//	| 8 bytes    | 4 bytes | record    | records         |     | record|
//	+------------+---------+-----------+--------+--------+-----+-------+
//
//	record:  | type 1 | length 4 | body | CRC 4 |
//
// The CRC32C of a record covers every byte of the stream before it, so records
// that are dropped, swapped or repeated are found. Numbers are big endian.
const (
	snapshotMagic   = "RDBTCAT1"
	snapshotVersion = 1

	recHeader  = 1 // index of the last applied entry
	recNode    = 2
	recPlace   = 3 // in the order of their numbers
	recGroup   = 4
	recSegs    = 5 // up to chunkLen segments of one epoch, in order
	recClient  = 6
	recEnd     = 7  // how many records came before
	recJoined  = 8  // chunkLen segments of one epoch, some of which share a record
	recMember  = 40 // what a node's record does not hold
	recMoves   = 41
	recRetain  = 60 // what is kept of a group
	recPlan    = 92 // a recovery plan, or a run of one
	recJobs    = 70 // what was and is done to a group
	recStands  = 75 // what operators decided about it
	recResized = 76 // how its disks have changed
	recDisks   = 77 // the same, of a group that disks have joined or left
	recGaps    = 84 // where a group has no points
	recNamed   = 88 // bookmarks, their sets, recovery checks
	maxRecord  = 64 << 20
	recordHead = 5

	recVerified = 80 // what comparisons of a group found
	recBinding  = 81 // the journal of a group's source
)

// freeze captures the state for a snapshot. What it shares with the live
// state is never changed in place: groups and answers by habit, histories by
// the new generation.
func (s *state) freeze() *state {
	f := &state{index: s.index, nodes: maps.Clone(s.nodes), groups: maps.Clone(s.groups), retain: maps.Clone(s.retain), jobs: maps.Clone(s.jobs), gaps: maps.Clone(s.gaps),
		places: places{list: slices.Clip(s.places.list)},
		epochs: make(map[epochKey]*history, len(s.epochs)), clients: make(map[ClientID]*client, len(s.clients)), moves: maps.Clone(s.moves), stands: maps.Clone(s.stands), resized: maps.Clone(s.resized),
		marks: maps.Clone(s.marks), sets: maps.Clone(s.sets), checks: maps.Clone(s.checks),
		verified: maps.Clone(s.verified), bindings: maps.Clone(s.bindings), plans: maps.Clone(s.plans), runs: maps.Clone(s.runs)}
	for k, h := range s.epochs {
		frozen := h.freeze()
		f.epochs[k] = &frozen
	}
	for k, c := range s.clients {
		f.clients[k] = &client{floor: c.floor, last: c.last, answers: maps.Clone(c.answers)}
	}
	s.gen++
	return f
}

// Snapshot is a captured catalog with its dedupe table. It does not change.
type Snapshot struct{ s *state }

// ReadSnapshot reads what Write wrote. Damage is ErrCorrupt, a newer format
// ErrVersion.
func ReadSnapshot(r io.Reader) (*Snapshot, error) {
	s, err := readSnapshot(r)
	if err != nil {
		return nil, err
	}
	return &Snapshot{s: s}, nil
}

// Nodes lists every node that was ever named.
func (p *Snapshot) Nodes() (out []NodeInfo) {
	for _, id := range p.s.nodeIDs() {
		out = append(out, p.s.nodes[id])
	}
	return out
}

// Write streams the snapshot to w.
func (p *Snapshot) Write(w io.Writer) error { return writeSnapshot(w, p.s) }

// snapshotWriter writes records and keeps the running checksum.
type snapshotWriter struct {
	w   *bufio.Writer
	buf []byte // of one record, used again
	crc uint32
	n   uint64
	err error
}

func (w *snapshotWriter) raw(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}

func (w *snapshotWriter) record(typ uint8, fill func(e *encoder)) {
	e := encoder{b: append(w.buf[:0], make([]byte, recordHead)...)}
	fill(&e)
	if n := len(e.b) - recordHead; n > maxRecord && w.err == nil { // no node could read it: the log is kept instead
		w.err = fail("write catalog snapshot", "", fmt.Errorf("record of type %d has %d bytes, at most %d can be read: %w", typ, n, maxRecord, redoubt.ErrInvalid),
			"the Raft log is kept until it fits: a retention policy that keeps fewer points makes it smaller")
	}
	head := encoder{}
	head.u8(typ)
	head.u32(uint32(len(e.b) - recordHead))
	copy(e.b, head.b)
	w.crc = redoubt.ChecksumUpdate(w.crc, e.b)
	e.u32(w.crc)
	w.raw(e.b)
	w.buf = e.b
	w.n++
}

func writeSnapshot(out io.Writer, s *state) error {
	w := &snapshotWriter{w: bufio.NewWriterSize(out, 256<<10)}
	e := encoder{b: []byte(snapshotMagic)}
	e.u32(snapshotVersion)
	w.crc = redoubt.Checksum(e.b)
	w.raw(e.b)
	w.record(recHeader, func(e *encoder) { e.u64(s.index) })
	for _, id := range s.nodeIDs() {
		w.record(recNode, func(e *encoder) { e.node(s.nodes[id]) })
		w.member(s.nodes[id])
	}
	for _, p := range s.places.list {
		w.record(recPlace, func(e *encoder) { e.u8(p.k); e.u8(p.m); e.nodeIDs(p.nodes) })
	}
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[id]
		w.record(recGroup, func(e *encoder) { e.group(g) })
		if r, ok := s.retain[id]; ok {
			w.record(recRetain, func(e *encoder) { e.str(string(id)); e.retention(r) })
		}
		if js, ok := s.jobs[id]; ok {
			w.record(recJobs, func(e *encoder) { e.str(string(id)); e.jobs(js) })
		}
		if st, ok := s.stands[id]; ok {
			w.record(recStands, func(e *encoder) { e.str(string(id)); e.standing(st) })
		}
		if list := s.resized[id]; len(list) > 0 {
			typ := uint8(recResized)
			if changedSet(list) {
				typ = recDisks
			}
			w.record(typ, func(e *encoder) { e.str(string(id)); e.diskEvents(list) })
		}
		if gaps := s.gaps[id]; len(gaps) > 0 {
			w.record(recGaps, func(e *encoder) { e.str(string(id)); e.gaps(gaps) })
		}
		for _, f := range g.Lineage {
			w.segments(epochKey{id, f.Epoch}, s.history(id, f.Epoch))
		}
	}
	w.moves(s)
	w.named(s)
	w.verified(s)
	w.bindings(s)
	w.recovery(s)
	ids := slices.SortedFunc(maps.Keys(s.clients), func(a, b ClientID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		w.client(id, s.clients[id])
	}
	n := w.n
	w.record(recEnd, func(e *encoder) { e.u64(n) })
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}

func (w *snapshotWriter) segments(k epochKey, h *history) {
	for i := range h.chunks {
		c := &h.chunks[i]
		typ := uint8(recSegs)
		if c.starts != nil {
			typ = recJoined
		}
		w.record(typ, func(e *encoder) {
			e.str(string(k.group))
			e.uvar(uint64(k.epoch))
			e.uvar(uint64(len(c.recs)))
			for j := range c.recs {
				if typ == recJoined {
					e.uvar(c.span(j))
				}
				e.record(&c.recs[j])
			}
		})
	}
}

func (w *snapshotWriter) client(id ClientID, c *client) {
	w.record(recClient, func(e *encoder) {
		e.b = append(e.b, id[:]...)
		e.u64(c.floor)
		e.u64(c.last)
		e.uvar(uint64(len(c.answers)))
		for _, n := range slices.Sorted(maps.Keys(c.answers)) {
			e.u64(n)
			e.bytes(c.answers[n])
		}
	})
}

func (e *encoder) record(r *record) {
	e.lsn(r.first)
	e.lsn(r.last)
	e.i64(r.firstTime)
	e.i64(r.lastTime)
	e.lsn(r.baseline)
	for _, v := range [...]uint32{r.size, r.headLen, r.shardSize, r.crc, r.stored, r.place} {
		e.u32(v)
	}
}

func (d *decoder) record() record {
	return record{first: d.lsn(), last: d.lsn(), firstTime: d.i64(), lastTime: d.i64(), baseline: d.lsn(),
		size: d.u32(), headLen: d.u32(), shardSize: d.u32(), crc: d.u32(), stored: d.u32(), place: d.u32()}
}
