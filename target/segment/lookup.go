package segment

import (
	"cmp"
	"errors"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Has reports whether the shard is stored. It does not read it, but may read
// what a file lists.
func (l *Log) Has(id ID) (bool, error) {
	_, ok, err := l.find(id)
	return ok, err
}

// Info describes the stored shard id; ErrNotFound if there is none.
func (l *Log) Info(id ID) (Info, error) {
	p, ok, err := l.find(id)
	if err != nil {
		return Info{}, &redoubt.Error{Op: "find shard", Object: id.String(), Err: err}
	}
	if !ok {
		return Info{}, notFound("find shard", id)
	}
	return p.info(id), nil
}

func (p *place) info(id ID) Info {
	return Info{ID: id, K: p.k, M: p.m, Size: p.size, HeadLen: p.headLen, ShardLen: p.shardLen, File: p.file, Offset: p.off}
}

// key returns the key of id with the Log's number. l.mu is held.
func (l *Log) key(id ID) (key, bool) {
	s, ok := l.series[seriesName{id.Group, id.UUID}]
	return keyOf(&id, s), ok
}

// number returns the Log's number for the name. l.mu is held for writing.
func (l *Log) number(n seriesName) uint32 {
	s, ok := l.series[n]
	if !ok {
		s = uint32(len(l.series) + 1)
		l.series[n] = s
	}
	return s
}

// candidates returns the listings that may hold k, the newest first. l.mu is held.
func (l *Log) candidates(k key) (out []*listing) {
	l.ranges.find(epochKey{k.series, k.epoch}, k.ordinal, func(first, last uint64) {
		if last-first > uint64(len(l.files)) {
			for n, f := range l.files {
				if n >= first && n <= last && f.list != nil {
					out = append(out, f.list)
				}
			}
			return
		}
		for n := first; n <= last; n++ {
			if f := l.files[n]; f != nil && f.list != nil {
				out = append(out, f.list)
			}
		}
	})
	if len(out) > 1 {
		slices.SortFunc(out, func(a, b *listing) int { return cmp.Compare(b.file.number, a.file.number) })
		out = slices.Compact(out)
	}
	return out
}

// find returns where the shard lies. The newest record of an identity counts:
// if that one is dead or a tombstone, the shard is not stored.
func (l *Log) find(id ID) (place, bool, error) {
	h, r, err := l.newest(id)
	switch {
	case err != nil:
		return place{}, false, err
	case r != nil:
		return r.place, !r.deleted, nil
	case h == nil || h.h.Type == typeTombstone:
		return place{}, false, nil
	}
	return h.h.place(), true, nil
}

// newest returns the newest record of id that is not dead: in a sealed file, or
// in the open one; none if the newest one is dead.
func (l *Log) newest(id ID) (*hit, *record, error) {
	for {
		l.mu.RLock()
		k, known := l.key(id)
		if r, ok := l.open[k]; known && ok {
			l.mu.RUnlock()
			return nil, &r, nil
		}
		var lists []*listing
		if known {
			lists = l.candidates(k)
		}
		shape, closed := l.shape, l.closed
		l.mu.RUnlock()
		if len(lists) == 0 {
			return nil, nil, nil
		}
		if closed {
			return nil, nil, redoubt.ErrClosed
		}
		found, err := l.search(lists, &id)
		l.mu.RLock()
		same := shape == l.shape
		r, moved := l.open[k] // put, or written anew by Reclaim, since the first look
		dead := found != nil && found.t.isDead(found.index)
		l.mu.RUnlock()
		switch {
		case !same || errors.Is(err, errStale):
			continue // a file came, went, or was listed anew meanwhile
		case moved:
			return nil, &r, nil
		case err != nil || dead:
			return nil, nil, err
		}
		return found, nil, nil
	}
}

// search asks one listing after the other. A listing that does not hold is made
// anew from its file's records; the error is then errStale.
func (l *Log) search(lists []*listing, id *ID) (*hit, error) {
	for _, t := range lists {
		h, ok, err := l.lookup(t, id)
		if err != nil {
			return nil, l.anew(t, err)
		}
		if ok {
			return &h, nil
		}
	}
	return nil, nil
}

// anew lists a file anew after an error; it returns errStale when that is done.
func (l *Log) anew(t *listing, err error) error {
	if err := l.recover(t, err); err != nil {
		return err
	}
	return errStale
}

// copies returns all records of id in sealed files that are no tombstones.
func (l *Log) copies(id ID) ([]hit, error) {
	for {
		l.mu.RLock()
		k, known := l.key(id)
		var lists []*listing
		if known {
			lists = l.candidates(k)
		}
		shape, closed := l.shape, l.closed
		l.mu.RUnlock()
		if closed {
			return nil, redoubt.ErrClosed
		}
		var out []hit
		var err error
		for _, t := range lists {
			if err = l.eachOf(t, &id, func(h hit) bool {
				if h.h.Type == typeShard {
					out = append(out, h)
				}
				return true
			}); err != nil {
				err = l.anew(t, err)
				break
			}
		}
		l.mu.RLock()
		same := shape == l.shape
		l.mu.RUnlock()
		if same && !errors.Is(err, errStale) {
			return out, err
		}
	}
}

// Forget drops the shard, so that the next Put stores it anew: for a shard that
// was found rotten. Nothing is written; after a restart the rotten record is
// back unless a later Put replaced it.
func (l *Log) Forget(id ID) error {
	for {
		l.mu.RLock()
		shape := l.shape
		l.mu.RUnlock()
		p, ok, err := l.find(id)
		if err != nil || !ok {
			return err
		}
		old, err := l.copies(id)
		if err != nil {
			return err
		}
		if l.forget(id, p, old, shape) {
			return nil
		}
	}
}

// forget drops the record at p and the old ones in sealed files; false if a file was
// sealed, removed, or listed anew since the log had that shape: it may be elsewhere.
func (l *Log) forget(id ID, p place, old []hit, shape uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shape != shape {
		return false
	}
	l.headers.Remove(p)
	if k, _ := l.key(id); l.open[k].place == p {
		delete(l.open, k) // sealing marks its record
	}
	kill(old)
	return true
}

// kill marks records in sealed files. Log.mu is held.
func kill(hs []hit) {
	for i := range hs {
		hs[i].now().kill(hs[i].index, hs[i].h.total())
	}
}
