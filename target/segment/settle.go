package segment

// batch is requests that are appended and not yet durable.
type batch struct {
	f        *logFile
	rs       []*request
	from, to int64 // where they lie in f
}

// settle makes durable what the writer has appended and answers it, until
// w.appended is closed. One sync answers all that was appended before it began.
// After a failure nothing is synced again and nothing succeeds.
func (w *writer) settle() {
	for b := range w.appended {
		all := []*batch{b}
		for more := true; more; {
			select {
			case b, ok := <-w.appended:
				if more = ok; ok {
					all = append(all, b)
				}
			default:
				more = false
			}
		}
		err := w.sync(all)
		for _, b := range all {
			answer(b.rs, err)
			w.flying.Done()
		}
	}
}

// sync makes batches of one file durable and enters their records.
func (w *writer) sync(all []*batch) error {
	l := w.l
	if err := l.usable(); err != nil {
		return err
	}
	if err := all[0].f.Sync(); err != nil {
		l.fail(err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil { // the writer has failed meanwhile
		return l.failed
	}
	l.stats.syncs.Add(1)
	for _, b := range all {
		l.stats.puts.Add(uint64(len(b.rs)))
		l.bytes += b.to - b.from
		for _, r := range b.rs {
			l.apply(r)
		}
		w.durable.Store(b.to)
	}
	return nil
}
