package journal

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

var errStub = errors.New("journal: being built")

type Options struct {
	FS          vfs.FS
	Now         func() time.Time
	Logger      *slog.Logger
	SegmentSize int64
	MaxBytes    int64
	Start       redoubt.Position
	Create      bool
	IndexDir    string
}
type Journal struct{}
type Cursor struct{}
type BranchInfo struct {
	Dir                 string
	After, Head         redoubt.Position
	First, Last         redoubt.LSN
	FirstTime, LastTime int64
	Records, Bytes      int64
}
type Stats struct {
	Segments, UsedBytes, MaxBytes int64
	Head, Tail, Durable, Applied  redoubt.LSN
	Appends, Records, Batches     int64
	Syncs, SyncCalls              int64
	SyncTime                      time.Duration
	IndexErr                      error
}
type DumpOptions struct {
	FS       vfs.FS
	JSON     bool
	From, To redoubt.LSN
}
type Report struct {
	Segments, Batches, Records, Bytes int64
	First, Last                       redoubt.LSN
	Problems                          []string
}

func Open(dir string, o Options) (*Journal, error)                              { return nil, errStub }
func OpenBranch(dir string, o Options) (*Journal, error)                        { return nil, errStub }
func (j *Journal) Append(ws []redoubt.Write) error                              { return errStub }
func (j *Journal) AppendReplica(e redoubt.Epoch, ws []redoubt.Write) error      { return errStub }
func (j *Journal) Sync(ctx context.Context, upTo redoubt.LSN) error             { return errStub }
func (j *Journal) Head() redoubt.Position                                       { return redoubt.Position{} }
func (j *Journal) HeadTime() int64                                              { return 0 }
func (j *Journal) Durable() redoubt.LSN                                         { return 0 }
func (j *Journal) Tail() redoubt.LSN                                            { return 0 }
func (j *Journal) Epoch() redoubt.Epoch                                         { return 0 }
func (j *Journal) SetEpoch(e redoubt.Epoch) error                               { return errStub }
func (j *Journal) Reset(p redoubt.Position) error                               { return errStub }
func (j *Journal) Applied() redoubt.LSN                                         { return 0 }
func (j *Journal) SetApplied(l redoubt.LSN) error                               { return errStub }
func (j *Journal) Replay(from redoubt.LSN, fn func(*redoubt.Write) error) error { return errStub }
func (j *Journal) Cursor(name string, start redoubt.LSN) (*Cursor, error)       { return nil, errStub }
func (j *Journal) Cursors() map[string]redoubt.LSN                              { return nil }
func (j *Journal) RemoveCursor(name string) error                               { return errStub }
func (c *Cursor) Acked() redoubt.LSN                                            { return 0 }
func (c *Cursor) Ack(l redoubt.LSN) error                                       { return errStub }
func (c *Cursor) Read(from redoubt.LSN, maxBytes int) ([]redoubt.Write, error)  { return nil, errStub }
func (j *Journal) Wait(ctx context.Context, after redoubt.LSN) error            { return errStub }
func (j *Journal) Dirty(after redoubt.LSN) (map[redoubt.DiskID][]redoubt.Extent, error) {
	return nil, errStub
}
func (j *Journal) SaveBranch(dir string, after redoubt.LSN) (BranchInfo, error) {
	return BranchInfo{}, errStub
}
func (j *Journal) PutState(key string, value []byte) error { return errStub }
func (j *Journal) State(key string) ([]byte, bool, error)  { return nil, false, errStub }
func (j *Journal) Stats() Stats                            { return Stats{} }
func (j *Journal) Err() error                              { return errStub }
func (j *Journal) Close() error                            { return errStub }
func Dump(dir string, w io.Writer, o DumpOptions) error    { return errStub }
func Verify(dir string) (Report, error)                    { return Report{}, errStub }
