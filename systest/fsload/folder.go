package fsload

// folder is what is known of a worker's folder: for each name, the files that a
// crash may leave under it. The last one is there now; nil is none. An fsync of
// the folder leaves no other.
type folder struct {
	names map[string][]*file
	past  map[string][]*file // what a name stood for since the file system was synced
}

func newFolder() *folder {
	return &folder{names: map[string][]*file{}, past: map[string][]*file{}}
}

// now returns the file of that name, or nil.
func (d *folder) now(name string) *file {
	if fs := d.names[name]; len(fs) > 0 {
		return fs[len(fs)-1]
	}
	return nil
}

// set notes that a name is about to stand for f.
func (d *folder) set(name string, f *file) {
	fs := d.names[name]
	if len(fs) == 0 {
		fs = []*file{nil}
	}
	d.names[name] = may(fs, f)
	if f != nil {
		d.past[name] = may(d.past[name], f)
	}
}

// lose notes that the file of that name is about to lose it, for good.
func (d *folder) lose(name string) {
	if f := d.now(name); f != nil {
		f.removed = true
	}
	d.set(name, nil)
}

// rename notes that a file is about to get another name, in place of what had it.
func (d *folder) rename(from, to string) {
	if old := d.now(to); old != nil {
		old.removed = true
	}
	d.set(to, d.now(from))
	d.set(from, nil)
}

// synced notes an fsync of the folder that succeeded.
func (d *folder) synced() {
	for name, fs := range d.names {
		if last := fs[len(fs)-1]; last != nil {
			d.names[name] = []*file{last}
		} else {
			delete(d.names, name)
		}
	}
}

// kept returns the files that were durable under some name and that nobody
// removed since: a crash must leave each of them under one of its names.
func (d *folder) kept() []*file {
	var out []*file
	for _, fs := range d.names {
		if f := fs[0]; f != nil && !f.removed {
			out = append(out, f)
		}
	}
	return out
}
