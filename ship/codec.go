package ship

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/redoubt-dr/redoubt"
)

// Codec says how a block is stored. Numbers are part of the format.
type Codec uint8

// The codecs.
const (
	CodecNone Codec = 0   // as it is
	CodecS2   Codec = 1   // s2, for fast links
	CodecZstd Codec = 2   // zstd at its fastest level, for slow links
	CodecAuto Codec = 255 // only as an option of the Sender: by the link's measured rate
)

// String returns the codec's name.
func (c Codec) String() string {
	switch c {
	case CodecNone:
		return "none"
	case CodecS2:
		return "s2"
	case CodecZstd:
		return "zstd"
	case CodecAuto:
		return "auto"
	}
	return fmt.Sprintf("codec-%d", uint8(c))
}

// ParseCodec reads a codec's name.
func ParseCodec(s string) (Codec, error) {
	for _, c := range []Codec{CodecNone, CodecS2, CodecZstd, CodecAuto} {
		if c.String() == s {
			return c, nil
		}
	}
	return 0, &redoubt.Error{Op: "parse codec", Object: s, Hint: "codecs are none, s2, zstd, auto", Err: redoubt.ErrInvalid}
}

// Compressor compresses blocks. It remembers whether compressing pays, so that
// a stream of incompressible data costs little. It is for one goroutine.
type Compressor struct {
	codec  Codec
	zenc   *zstd.Encoder
	misses int // blocks in a row that did not shrink
}

// NewCompressor returns a compressor for codec.
func NewCompressor(codec Codec) *Compressor { return &Compressor{codec: codec} }

// SetCodec changes the codec for the blocks to come.
func (c *Compressor) SetCodec(codec Codec) {
	if c.codec != codec {
		c.codec, c.misses = codec, 0
	}
}

// After tryAfter blocks that did not shrink only one in tryEvery is tried.
const (
	tryAfter = 4
	tryEvery = 8
)

// compressedMost returns how much room compress wants for n bytes.
func compressedMost(n int) int { return n + n/6 + 64 } // s2.MaxEncodedLen is below it

// compress returns the stored form of raw, which is raw itself if nothing is
// gained (less than 1/16), else lies in the memory of dst, if that has compressedMost.
func (c *Compressor) compress(dst, raw []byte) ([]byte, Codec, error) {
	if c.misses >= tryAfter && c.misses%tryEvery != 0 {
		c.misses++
		return raw, CodecNone, nil
	}
	var out []byte
	switch c.codec {
	case CodecS2:
		out = s2.Encode(dst, raw)
	case CodecZstd:
		if c.zenc == nil {
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
				zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true), zstd.WithWindowSize(MaxBlock), zstd.WithLowerEncoderMem(true))
			if err != nil {
				return nil, 0, err
			}
			c.zenc = enc
		}
		out = c.zenc.EncodeAll(raw, dst[:0])
	default:
		return raw, CodecNone, nil
	}
	if len(out) > len(raw)-len(raw)/16 {
		c.misses++
		return raw, CodecNone, nil
	}
	c.misses = 0
	return out, c.codec, nil
}

// zstdDecoder is shared: DecodeAll keeps no state between calls, and building a
// decoder costs more than a block.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(8<<20),
		zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecodeAllCapLimit(true))
})

// InflateBlock checks the stored bytes comp of a block against ref and returns
// its raw bytes, in dst's memory if that has room for ref.RawLen bytes. The
// result may be comp itself if the block is stored as it is. Safe for concurrent
// use.
func InflateBlock(ref BlockRef, comp, dst []byte) ([]byte, error) {
	fail := func(what string) ([]byte, error) {
		return nil, &redoubt.Error{Op: "inflate block", Err: fmt.Errorf("%s: %w", what, redoubt.ErrCorrupt)}
	}
	if ref.RawLen > MaxBlock || len(comp) != int(ref.Len) {
		return fail("length")
	}
	if redoubt.Checksum(comp) != ref.CRC {
		return fail("checksum")
	}
	if cap(dst) < int(ref.RawLen) {
		dst = make([]byte, 0, ref.RawLen)
	}
	switch ref.Codec {
	case CodecNone:
		if ref.Len != ref.RawLen {
			return fail("length of a raw block")
		}
		return comp, nil
	case CodecS2:
		if n, err := s2.DecodedLen(comp); err != nil || n != int(ref.RawLen) {
			return fail("s2 length")
		}
		out, err := s2.Decode(dst[:ref.RawLen], comp)
		if err != nil {
			return fail("s2: " + err.Error())
		}
		return out, nil
	case CodecZstd:
		dec, err := zstdDecoder()
		if err != nil {
			return nil, err
		}
		out, err := dec.DecodeAll(comp, dst[:0:ref.RawLen])
		if err != nil || len(out) != int(ref.RawLen) {
			return fail(fmt.Sprintf("zstd: %d bytes of %d: %v", len(out), ref.RawLen, err))
		}
		return out, nil
	}
	return nil, &redoubt.Error{Op: "inflate block", Err: fmt.Errorf("codec %d: %w", ref.Codec, redoubt.ErrVersion), Hint: "upgrade this program"}
}
