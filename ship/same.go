package ship

import (
	"bytes"
)

// seenBytes is the least data that is looked for among what the delta holds
// already: less would cost more than it saves.
const seenBytes = 512

// sameKey is what equal data have in common, and different data rarely.
type sameKey struct{ crc, n uint32 }

// samePlace is where data of that key lies first in the delta.
type samePlace struct{ block, off uint32 }

// same finds data that the delta holds already, byte for byte, so that it is
// stored once.
type same struct {
	seen     map[sameKey]samePlace
	inflated []byte // raw bytes of the block number of
	number   uint32
}

// find returns where b holds data already. If it does not, it remembers that
// data will lie at the end of the open block.
func (b *Builder) find(data []byte, crc uint32) (samePlace, bool, error) {
	if len(data) < seenBytes {
		return samePlace{}, false, nil
	}
	if b.same.seen == nil {
		b.same.seen, b.same.number = map[sameKey]samePlace{}, NoBlock
	}
	p, ok := b.same.seen[sameKey{crc, uint32(len(data))}]
	if !ok {
		return p, false, nil
	}
	raw, err := b.rawBlock(p.block)
	if err != nil {
		return p, false, err
	}
	end := int(p.off) + len(data)
	return p, end <= len(raw) && bytes.Equal(raw[p.off:end], data), nil
}

func (b *Builder) remember(p samePlace, n int, crc uint32) {
	if n >= seenBytes {
		b.same.seen[sameKey{crc, uint32(n)}] = p
	}
}

// rawBlock returns the raw bytes of the open block or a closed one.
func (b *Builder) rawBlock(n uint32) ([]byte, error) {
	if int(n) == len(b.stored) {
		return b.cur, nil
	}
	if b.same.number != n {
		raw, err := InflateBlock(b.d.blocks[n], b.stored[n], nil)
		if err != nil {
			return nil, err
		}
		b.same.inflated, b.same.number = raw, n
	}
	return b.same.inflated, nil
}
