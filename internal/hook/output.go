package hook

import (
	"crypto/sha256"
	"hash"
	"strings"
	"sync"
	"unicode"
)

// Output is what a script wrote.
type Output struct {
	Tail   []byte   // the last bytes of it
	Bytes  uint64   // all that it wrote
	Digest [32]byte // SHA-256 of all that it wrote
}

// Truncated reports whether Tail is not all of it.
func (o *Output) Truncated() bool { return o.Bytes > uint64(len(o.Tail)) }

// lineMax bounds LastLine, in bytes.
const lineMax = 200

// LastLine returns the last line that is not empty, printable and cut to 200 bytes.
func (o *Output) LastLine() string {
	line := strings.TrimSpace(strings.ToValidUTF8(string(o.Tail), "?"))
	line = line[strings.LastIndexByte(line, '\n')+1:]
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, line)
	return strings.ToValidUTF8(line[:min(len(line), lineMax)], "")
}

// tail keeps the last bytes of what is written to it. It never refuses: a
// script that writes without end is slowed down by nothing but its time limit.
type tail struct {
	mu  sync.Mutex
	max int
	buf []byte // at most 2*max
	n   uint64
	sum hash.Hash
}

func newTail(most int) *tail {
	if most <= 0 || most > MaxOutput {
		most = MaxOutput
	}
	return &tail{max: most, sum: sha256.New()}
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Write(p)
	t.n += uint64(len(p))
	for q := p; len(q) > 0; {
		n := min(len(q), 2*t.max-len(t.buf))
		t.buf, q = append(t.buf, q[:n]...), q[n:]
		if len(t.buf) == 2*t.max {
			t.buf = append(t.buf[:0], t.buf[t.max:]...)
		}
	}
	return len(p), nil
}

func (t *tail) output() Output {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := Output{Bytes: t.n, Tail: append([]byte(nil), t.buf[max(0, len(t.buf)-t.max):]...)}
	t.sum.Sum(o.Digest[:0])
	return o
}
