package journal

import (
	"errors"
	"io"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

var errStub = errors.New("journal: being built")

type BranchInfo struct {
	Dir                 string
	After, Head         redoubt.Position
	First, Last         redoubt.LSN
	FirstTime, LastTime int64
	Records, Bytes      int64
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

func OpenBranch(dir string, o Options) (*Journal, error) { return nil, errStub }
func (j *Journal) SaveBranch(dir string, after redoubt.LSN) (BranchInfo, error) {
	return BranchInfo{}, errStub
}
func Dump(dir string, w io.Writer, o DumpOptions) error { return errStub }
func Verify(dir string) (Report, error)                 { return Report{}, errStub }
