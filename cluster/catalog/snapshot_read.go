package catalog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// readSnapshot builds a state from a snapshot's stream. Damage is ErrCorrupt,
// a newer format ErrVersion.
func readSnapshot(in io.Reader) (*state, error) {
	r := &snapshotReader{r: bufio.NewReaderSize(in, 256<<10)}
	if err := r.preface(); err != nil {
		return nil, err
	}
	s := newState()
	for {
		typ, body, err := r.record()
		if err != nil {
			return nil, err
		}
		if r.n == 1 && typ != recHeader {
			return nil, fmt.Errorf("snapshot without a header: %w", redoubt.ErrCorrupt)
		}
		d := &decoder{b: body}
		if typ == recEnd {
			if n := d.u64(); n != r.n-1 || d.done() != nil {
				return nil, fmt.Errorf("snapshot's end: %w", redoubt.ErrCorrupt)
			}
			if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("bytes after the snapshot's end: %w", redoubt.ErrCorrupt)
			}
			return s, nil
		}
		s.load(typ, d)
		if err := d.done(); err != nil {
			return nil, fmt.Errorf("snapshot record %d: %w", r.n, err)
		}
	}
}

type snapshotReader struct {
	r    *bufio.Reader
	crc  uint32
	n    uint64
	segs []byte // of records of segments, used again: nearly all of a snapshot
}

func (r *snapshotReader) preface() error {
	b := make([]byte, len(snapshotMagic)+4)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return cut(err)
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return fmt.Errorf("not a catalog snapshot: %w", redoubt.ErrCorrupt)
	}
	if v := binary.BigEndian.Uint32(b[len(snapshotMagic):]); v != snapshotVersion {
		return fmt.Errorf("snapshot format %d: %w", v, redoubt.ErrVersion)
	}
	r.crc = redoubt.Checksum(b)
	return nil
}

func (r *snapshotReader) record() (typ uint8, body []byte, err error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, cut(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxRecord {
		return 0, nil, fmt.Errorf("snapshot record of %d bytes: %w", n, redoubt.ErrCorrupt)
	}
	if typ = head[0]; typ == recSegs || typ == recJoined { // nothing of them is kept
		r.segs, err = r.take(r.segs, int(n)+4)
		body = r.segs
	} else {
		body, err = r.take(nil, int(n)+4)
	}
	if err != nil {
		return 0, nil, cut(err)
	}
	r.crc = redoubt.ChecksumUpdate(redoubt.ChecksumUpdate(r.crc, head[:]), body[:n])
	if binary.BigEndian.Uint32(body[n:]) != r.crc {
		return 0, nil, fmt.Errorf("snapshot record %d: checksum: %w", r.n, redoubt.ErrCorrupt)
	}
	r.n++
	return typ, body[:n], nil
}

// take reads n bytes, into b if they fit.
func (r *snapshotReader) take(b []byte, n int) ([]byte, error) {
	if n <= max(1<<20, cap(b)) {
		b = slices.Grow(b[:0], n)[:n]
		_, err := io.ReadFull(r.r, b)
		return b, err
	}
	// Grown while reading, so that a damaged length does not reserve memory.
	b, err := io.ReadAll(io.LimitReader(r.r, int64(n)))
	if err == nil && len(b) != n {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("snapshot cut short: %w", redoubt.ErrCorrupt)
	}
	return err
}

// load adds one record to the state under construction.
func (s *state) load(typ uint8, d *decoder) {
	switch typ {
	case recHeader:
		s.index = d.u64()
	case recNode:
		n := d.node()
		s.nodes[n.ID] = n
	case recPlace:
		k, m, nodes := d.u8(), d.u8(), d.nodeIDs()
		next := len(s.places.list)
		if int(k)+int(m) != len(nodes) || int(s.places.intern(k, m, nodes)) != next {
			d.bad("bad place")
		}
	case recGroup:
		s.loadGroup(d)
	case recSegs, recJoined:
		s.loadSegments(d, typ == recJoined)
	case recClient:
		s.loadClient(d)
	case recRetain:
		id, r := d.groupID(), d.retention()
		if _, twice := s.retain[id]; twice || s.groups[id] == nil {
			d.bad("retention of an unknown group")
		}
		s.retain[id] = r
	case recJobs:
		s.loadJobs(d)
	case recStands:
		id, st := d.groupID(), d.standing()
		if _, twice := s.stands[id]; twice || s.groups[id] == nil {
			d.bad("standing of an unknown group")
		}
		s.stands[id] = st
	case recResized, recDisks:
		id, list := d.groupID(), d.diskEvents()
		if _, twice := s.resized[id]; twice || s.groups[id] == nil || len(list) == 0 {
			d.bad("disks of an unknown group")
		}
		s.resized[id] = list
	case recGaps:
		id, list := d.groupID(), d.gaps()
		if _, twice := s.gaps[id]; twice || s.groups[id] == nil || len(list) == 0 {
			d.bad("gaps of an unknown group")
		}
		s.gaps[id] = list
	case recMember:
		s.loadMember(d)
	case recVerified:
		s.loadVerified(d)
	case recBinding:
		s.loadBinding(d)
	case recNamed:
		s.loadNamed(d)
	case recMoves:
		s.loadMoves(d)
	case recPlan:
		s.loadRecovery(d)
	default:
		d.bad(fmt.Sprintf("unknown record type %d", typ))
	}
}

func (s *state) loadGroup(d *decoder) {
	g := d.group()
	if _, twice := s.groups[g.ID]; twice || g.Lineage.Validate() != nil || g.Lineage.Current() != g.Epoch {
		d.bad("bad group")
	}
	if d.err == nil {
		s.groups[g.ID] = g
		s.byUUID[g.UUID] = g.ID
	}
}

func (s *state) loadSegments(d *decoder, joined bool) {
	key := epochKey{d.groupID(), d.epoch()}
	g, ok := s.groups[key.group]
	if !ok {
		d.bad("segments of an unknown group")
		return
	}
	f, ok := g.Lineage.Find(key.epoch)
	if !ok {
		d.bad("segments of an unknown epoch")
		return
	}
	h, ok := s.epochs[key]
	if !ok {
		h = &history{}
		s.epochs[key] = h
	}
	last := f.At
	if n := h.len(); n > 0 {
		last = h.at(n - 1).last
	}
	if joined && h.len()%chunkLen != 0 {
		d.bad("segments that are joined in the middle of a chunk")
		return
	}
	var sum subtotals
	defer func() { s.countAll(h, sum) }()
	c, ordinals := chunk{gen: s.gen}, uint64(0)
	for range d.count(chunkLen, "number of segments") {
		span := uint64(1)
		if joined {
			span = d.uvar()
		}
		r := d.record()
		alone := span == 1 && r.last >= r.first
		if r.first != last+1 || !alone && (!joined || !r.hollow()) || int(r.place) >= len(s.places.list) || span == 0 || span > chunkLen-ordinals {
			d.bad("bad segment")
			return
		}
		last = r.last
		sum.add(s, &r, span)
		if joined {
			c.recs, c.starts = append(c.recs, r), append(c.starts, uint16(ordinals))
		} else {
			h.add(r, s.gen)
		}
		ordinals += span
	}
	switch {
	case !joined || d.err != nil:
	case ordinals != chunkLen:
		d.bad("segments that are joined are not a chunk")
	default:
		h.chunks = append(h.chunks, c)
	}
}

func (s *state) loadClient(d *decoder) {
	var id ClientID
	copy(id[:], d.take(len(id)))
	c := &client{floor: d.u64(), last: d.u64(), answers: map[uint64][]byte{}}
	for range d.count(Window, "number of answers") {
		n := d.u64()
		c.answers[n] = d.bytes(maxRecord, "answer")
	}
	if _, twice := s.clients[id]; twice || len(s.clients) >= maxClients {
		d.bad("bad client")
	}
	s.clients[id] = c
}
