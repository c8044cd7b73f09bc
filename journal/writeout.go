package journal

// writeOutBytes is how much of a segment is appended before the system is
// asked to begin writing it, so that a sync finds little left to wait for.
const writeOutBytes = 128 << 10

// outWriter is a file that can begin to write a range to its disk without
// waiting for it. It is a hint: only Sync tells of success and failure.
type outWriter interface {
	StartWriting(off, n int64)
}

// writeOut begins the writing of what was appended.
func (j *Journal) writeOut() {
	defer j.done.Done()
	for {
		select {
		case <-j.stop:
			return
		case <-j.appended:
		}
		for j.writeOutOne() {
		}
	}
}

// writeOutOne takes one segment, and reports whether there was one.
func (j *Journal) writeOutOne() bool {
	j.mu.Lock()
	var s *segment
	for _, d := range j.dirty {
		if d.p.end-d.begun >= writeOutBytes || d.rolled && d.p.end > d.begun {
			s = d
			break
		}
	}
	if s == nil {
		j.mu.Unlock()
		return false
	}
	from, to := s.begun, s.p.end
	s.begun = to
	s.pins++
	j.mu.Unlock()
	if f, ok := s.file.(outWriter); ok {
		f.StartWriting(from, to-from)
	}
	j.mu.Lock()
	j.unpin(s)
	j.mu.Unlock()
	return true
}
