package segment

import (
	"cmp"
	"errors"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Each calls fn for every stored shard until it returns false, a file after
// the other. A shard that is put meanwhile may be left out, one that is written
// anew may come twice. It keeps in memory no more than what one file lists.
func (l *Log) Each(fn func(Info) bool) error {
	for after := uint64(0); ; {
		// What is written anew while this runs goes to a later file.
		numbers := slices.DeleteFunc(l.Numbers(), func(n uint64) bool { return n <= after })
		if len(numbers) == 0 {
			return nil
		}
		for _, n := range numbers {
			if more, err := l.each(n, fn); err != nil || !more {
				return err
			}
			after = n
		}
	}
}

// InFile lists the shards of one file in the order of their records.
func (l *Log) InFile(n uint64) ([]Info, error) {
	var out []Info
	_, err := l.each(n, func(i Info) bool {
		out = append(out, i)
		return true
	})
	slices.SortFunc(out, func(a, b Info) int { return cmp.Compare(a.Offset, b.Offset) })
	return slices.CompactFunc(out, func(a, b Info) bool { return a.Offset == b.Offset }), err
}

// each calls fn for the stored shards of file n; more is false if fn wants no
// more.
func (l *Log) each(n uint64, fn func(Info) bool) (more bool, err error) {
	for {
		l.mu.RLock()
		f, closed := l.files[n], l.closed
		var t *listing
		var open []Info
		if f != nil {
			if t = f.list; t == nil {
				open = l.openInfos()
			}
		}
		l.mu.RUnlock()
		switch {
		case closed:
			return false, redoubt.ErrClosed
		case f == nil:
			return true, nil // what was needed of it lies in a later file
		case t == nil:
			return !slices.ContainsFunc(open, func(i Info) bool { return !fn(i) }), nil
		}
		more, err = l.eachIn(t, fn)
		if !errors.Is(err, errStale) {
			return more, err
		}
	}
}

// openInfos lists the open file's shards. l.mu is held.
func (l *Log) openInfos() []Info {
	names := make(map[uint32]seriesName, len(l.series))
	for n, s := range l.series {
		names[s] = n
	}
	out := make([]Info, 0, len(l.open))
	for k, r := range l.open {
		if !r.deleted {
			n := names[k.series]
			out = append(out, r.info(ID{Group: n.group, UUID: n.uuid, Epoch: k.epoch, Ordinal: k.ordinal, Shard: k.shard, CRC: k.crc}))
		}
	}
	return out
}

// eachIn visits a listing. Records that later ones replace or delete are passed
// over, and marked as dead if they were not known to be. errStale: begin anew.
func (l *Log) eachIn(t *listing, fn func(Info) bool) (more bool, err error) {
	d, err := l.directory(t)
	if err != nil {
		return false, l.staleOr(t, err)
	}
	for p := range int(t.pages) {
		es, err := l.peek(t, p)
		if err != nil {
			return false, l.staleOr(t, err)
		}
		for i := range len(es) / entryLen {
			h, err := d.entry(es[i*entryLen:(i+1)*entryLen], t.file.number)
			if err != nil {
				return false, l.staleOr(t, err)
			}
			if h.Type != typeShard {
				continue
			}
			current, err := l.current(hit{t, p*pageEntries + i, h}, d.again(es, p, i))
			if err != nil {
				return false, err
			}
			if pl := h.place(); current && !fn(pl.info(h.ID)) {
				return false, nil
			}
		}
	}
	return true, nil
}

// peek is page without keeping it: who visits all would only empty the cache.
func (l *Log) peek(t *listing, i int) ([]byte, error) {
	if es, ok := l.pages.Get(pageKey{t.id, i}); ok {
		return es, nil
	}
	off, n := t.geometry.page(i)
	b := make([]byte, n)
	if err := t.readAt(b, off); err != nil {
		return nil, err
	}
	return checkPage(b, t.file.number, i)
}

// staleOr lists a file anew whose listing gave an error.
func (l *Log) staleOr(t *listing, err error) error {
	l.mu.RLock()
	stale := t.file.list != t || l.files[t.file.number] != t.file
	l.mu.RUnlock()
	if stale {
		return errStale
	}
	return l.anew(t, err)
}

// again reports whether what follows entry i of page p is another record of the
// same shard.
func (d *directory) again(es []byte, p, i int) bool {
	next := es[(i+1)*entryLen:]
	if len(next) == 0 {
		if next = d.keys[(p+1)*keyLen:]; len(next) == 0 {
			return false
		}
	}
	return readKey(next) == readKey(es[i*entryLen:])
}

// current reports whether h is the record that counts of its shard; again says
// that its own file has a later one. One that does not count is marked as dead.
func (l *Log) current(h hit, again bool) (bool, error) {
	l.mu.RLock()
	k, _ := l.key(h.h.ID)
	_, doubt := l.open[k]
	l.ranges.find(epochKey{k.series, k.epoch}, k.ordinal, func(first, last uint64) {
		doubt = doubt || first != h.t.file.number || last != first
	})
	dead, stale := h.t.isDead(h.index), h.t.file.list != h.t || l.files[h.t.file.number] != h.t.file
	l.mu.RUnlock()
	if stale {
		return false, errStale
	}
	if dead || !doubt && !again {
		return !dead, nil
	}
	now, _, err := l.newest(h.h.ID)
	if err != nil {
		return false, err
	}
	if now != nil && now.t == h.t && now.index == h.index {
		return true, nil
	}
	l.mu.Lock()
	kill([]hit{h})
	l.mu.Unlock()
	return false, nil
}
