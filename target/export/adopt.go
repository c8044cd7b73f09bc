package export

import (
	"github.com/redoubt-dr/redoubt"
)

// missing returns the first extent at or after off, and up to its end not
// longer than most, of which the overlay has nothing; ok is false if there is
// none. It is made of whole blocks, but for the disk's end.
func (o *Overlay) missing(off, most uint64) (e redoubt.Extent, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	blocks := roundUp(o.size) / overlayBlock
	b := off / overlayBlock
	if o.own.Contains(b) { // passes over what is there a run at a time
		it := o.own.Iterator()
		it.AdvanceIfNeeded(b)
		for it.HasNext() && it.PeekNext() == b {
			it.Next()
			b++
		}
	}
	if b >= blocks {
		return redoubt.Extent{}, false
	}
	end := min(blocks, b+max(1, most/overlayBlock))
	it := o.own.Iterator()
	it.AdvanceIfNeeded(b)
	if it.HasNext() {
		end = min(end, it.PeekNext())
	}
	return redoubt.Extent{Off: b * overlayBlock, Len: min(end*overlayBlock, o.size) - b*overlayBlock}, true
}

// adopt makes blocks the overlay's own that it does not have yet. p is what
// the base holds at off; nil stands for n zeros. Blocks that were written
// meanwhile stay as they are. A failure changes nothing that can be read.
func (o *Overlay) adopt(p []byte, off, n uint64) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := o.check("hydrate", redoubt.Extent{Off: off, Len: n}); err != nil {
		return err
	}
	for done := uint64(0); done < n; {
		part, own := o.run(off+done, n-done)
		if !own {
			e := redoubt.Extent{Off: off + done, Len: part}
			var err error
			if p != nil {
				err = o.data.WriteAt(p[done:done+part], e.Off)
			} else {
				// A block that is not its own may hold what a crash left there.
				err = o.zeroData(e)
			}
			if err != nil {
				return err
			}
			o.claim(e)
		}
		done += part
	}
	return nil
}
