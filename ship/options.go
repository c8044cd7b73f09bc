package ship

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// SenderOptions say what a Sender ships, from where and to whom.
type SenderOptions struct {
	Journal *journal.Journal
	Cursor  string // name of the journal's cursor; made if it is not there
	// Keep, if set, names a second cursor, made if it is not there. It holds what
	// the receiver has committed without its full redundancy in the journal,
	// unless that is more than three quarters full.
	Keep string
	// Current reads the disks' newest content, for copy records.
	Current interface {
		ReadCurrent(d redoubt.DiskID, p []byte, off uint64) error
	}
	// Recent, if set, has the newest records in memory, so that they need not be
	// read back from the journal; see blockdev.Group.
	Recent interface {
		Recent(dst []redoubt.Write, from redoubt.LSN, maxBytes int) (ws []redoubt.Write, done func())
	}
	// Hello gives the facts of each attempt; the Sender fills in Epoch, Head,
	// Tail and HeadTime from the journal.
	Hello func() Hello
	Dial  func(ctx context.Context, addr string) (net.Conn, error)
	Addrs func() []string // where to try, in order of preference
	// SkipCopies leaves out copy records and the baseline: for a receiver that
	// has that content already.
	SkipCopies bool
	// OnWelcome, if set, sees every Welcome, before anything is shipped.
	OnWelcome func(Welcome)
	// OnNotice, if set, is called when the receiver has news for a Welcome to come.
	OnNotice func()
	// OnAck, if set, is called after the cursor has moved. It must not wait.
	OnAck func()
	// OnResync is called after a Welcome with Resync, with what the receiver has
	// changed; it returns the LSN at which the stream begins. Without it such a
	// Welcome is an error. Heartbeats go on meanwhile.
	OnResync func(ctx context.Context, w Welcome, dirty map[redoubt.DiskID][]redoubt.Extent) (start redoubt.LSN, err error)

	MaxDelta  int           // stored bytes of a delta, and half of its raw bytes; default 4 MiB, at most 16 MiB
	Window    int           // deltas under way without an ack; default 8
	MaxDelay  time.Duration // a write waits at most this long for company; default 100 ms
	RateLimit int64         // bytes per second on the wire; 0 means no limit
	Codec     Codec         // default (0) is CodecAuto; see NoCompression
	// NoCompression ships blocks as they are, whatever Codec says.
	NoCompression bool

	Heartbeat   time.Duration // default 1 s
	PeerTimeout time.Duration // a peer silent for so long is gone; default 5 s
	Logger      *slog.Logger
	Now         func() time.Time
}

const (
	defaultMaxDelta    = 4 << 20
	largestMaxDelta    = 16 << 20
	maxEntriesPerDelta = 16 << 10
	defaultHeartbeat   = time.Second
	defaultPeerTimeout = 5 * time.Second
	dialTimeout        = 3 * time.Second
	helloTimeout       = 10 * time.Second
)

func (o SenderOptions) withDefaults() SenderOptions {
	if o.MaxDelta <= 0 {
		o.MaxDelta = defaultMaxDelta
	}
	o.MaxDelta = min(o.MaxDelta, largestMaxDelta)
	if o.Window <= 0 {
		o.Window = 8
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = 100 * time.Millisecond
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = defaultHeartbeat
	}
	if o.PeerTimeout <= 0 {
		o.PeerTimeout = defaultPeerTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.NoCompression:
		o.Codec = CodecNone
	case o.Codec == CodecNone:
		o.Codec = CodecAuto
	}
	return o
}

func (o *SenderOptions) validate() error {
	if o.Journal == nil || o.Hello == nil || o.Dial == nil || o.Addrs == nil || o.Cursor == "" {
		return &redoubt.Error{Op: "start sender", Object: o.Cursor, Err: fmt.Errorf("one of Journal, Cursor, Hello, Dial and Addrs is missing: %w", redoubt.ErrInvalid)}
	}
	return nil
}

// FencedError says that another epoch has the group; the sender must not write.
type FencedError struct{ Welcome Welcome }

// LostError says that the receiver cannot go on from what the journal has: the
// disks must be compared.
type LostError struct{ Welcome Welcome }

// Error says why.
func (e *LostError) Error() string {
	if e.Welcome.Lost == "" {
		return fmt.Sprintf("epoch %d begins with a comparison of the disks", e.Welcome.Epoch)
	}
	return e.Welcome.Lost
}

// Unwrap returns redoubt.ErrGap.
func (e *LostError) Unwrap() error { return redoubt.ErrGap }

// Error says which epoch has taken over.
func (e *FencedError) Error() string {
	return fmt.Sprintf("epoch %d of %s has taken over", e.Welcome.Epoch, e.Welcome.Writer)
}

// Unwrap returns redoubt.ErrFenced.
func (e *FencedError) Unwrap() error { return redoubt.ErrFenced }
