package journal

import "github.com/redoubt-dr/redoubt"

// Oldest returns the last LSN of as few of the oldest segments as hold at least
// the given number of bytes: acknowledging up to it gives that room back. 0 if
// bytes is not positive. The open segment is never part of it.
func (j *Journal) Oldest(bytes int64) redoubt.LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	var last redoubt.LSN
	for _, s := range j.chain {
		if bytes <= 0 || !s.rolled {
			break
		}
		last, bytes = s.p.last, bytes-s.size
	}
	return last
}

// Held returns the bytes of the segments that hold records above after and none
// above upTo: what an acknowledgement of upTo would give back beyond one of after.
func (j *Journal) Held(after, upTo redoubt.LSN) (bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.chain {
		if s.rolled && s.p.last > after && s.p.last <= upTo {
			bytes += s.size
		}
	}
	return bytes
}
