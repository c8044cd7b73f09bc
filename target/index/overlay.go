package index

import "cmp"

// stream yields the entries of a run in order; ok is false at the end.
type stream func() (f flat, ok bool, err error)

func sliceStream(fs []flat) stream {
	return func() (flat, bool, error) {
		if len(fs) == 0 {
			return flat{}, false, nil
		}
		f := fs[0]
		fs = fs[1:]
		return f, true, nil
	}
}

// overlay lays the newer run over the older one: all of newer, and of older
// what newer leaves uncovered. It holds one entry of each in memory.
func overlay(newer, older stream) stream {
	var n, o flat
	var haveN, haveO, started bool
	pull := func(s stream, f *flat, have *bool) (err error) {
		*f, *have, err = s()
		return err
	}
	return func() (flat, bool, error) {
		if !started {
			started = true
			if err := pull(newer, &n, &haveN); err != nil {
				return flat{}, false, err
			}
			if err := pull(older, &o, &haveO); err != nil {
				return flat{}, false, err
			}
		}
		for {
			switch {
			case !haveO && !haveN:
				return flat{}, false, nil
			case !haveO || haveN && before(&n, &o):
				f := n
				return f, true, pull(newer, &n, &haveN)
			case !haveN || before(&o, &n):
				f := o
				return f, true, pull(older, &o, &haveO)
			case o.off < n.off: // o reaches into n: its left part is free
				f := o.clip(o.off, n.off)
				o = o.clip(n.off, o.end())
				return f, true, nil
			case o.end() <= n.end(): // wholly covered
				if err := pull(older, &o, &haveO); err != nil {
					return flat{}, false, err
				}
			default: // o goes on behind n
				o = o.clip(n.end(), o.end())
			}
		}
	}
}

// before reports whether a ends before b begins.
func before(a, b *flat) bool {
	if a.disk != b.disk {
		return cmp.Less(a.disk, b.disk)
	}
	return a.end() <= b.off
}

// joinZeros melts neighbouring zero entries into one: they need no source.
func joinZeros(s stream) stream {
	var held flat
	var have, ended bool
	return func() (flat, bool, error) {
		for !ended {
			f, ok, err := s()
			if err != nil {
				return flat{}, false, err
			}
			if !ok {
				ended = true
				break
			}
			if have && held.zero && f.zero && held.disk == f.disk && held.end() == f.off {
				held.len += f.len
				continue
			}
			out, had := held, have
			held, have = f, true
			if had {
				return out, true, nil
			}
		}
		out, had := held, have
		have = false
		return out, had, nil
	}
}
