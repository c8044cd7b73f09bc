package crashtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/journal"
)

// killSizes are the sizes of the two disks that real kills are done on, in bytes.
func killSizes() []uint64 { return []uint64{8 << 20, 4 << 20} }

// report is one message of a worker to its judge: 9 bytes, kind and LSN. One
// write to the pipe each, so a kill never tears it.
type report struct {
	kind byte
	lsn  redoubt.LSN
}

// The kinds of a report.
const (
	reportOpen    = 'o' // opened: the journal's head
	reportAcked   = 'a' // acknowledged: everything up to the LSN
	reportFlushed = 'f' // flushed: everything up to the LSN
)

func (r report) send(w io.Writer) error {
	_, err := w.Write(binary.LittleEndian.AppendUint64([]byte{r.kind}, uint64(r.lsn)))
	return err
}

func receive(r io.Reader) (report, error) {
	var b [9]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return report{}, err
	}
	return report{b[0], redoubt.LSN(binary.LittleEndian.Uint64(b[1:]))}, nil
}

// killOp returns what life number life does as the write with that LSN. The
// judge knows it without being told.
func killOp(seed, life uint64, l redoubt.LSN) op {
	return randomOp(rand.New(rand.NewPCG(seed^life*0x9e3779b97f4a7c15, uint64(l))), killSizes())
}

// Worker says what a worker process does.
type Worker struct {
	Dir  string // with the journal and the images, which exist
	Seed uint64
	Life uint64    // number of this process among those with that folder and seed
	Mode Mode      // EarlyReply or Sound
	Out  io.Writer // the judge's end of the pipe
}

// Work writes until it is killed, or the judge is gone.
func (w Worker) Work() error {
	dice := rand.New(rand.NewPCG(w.Seed, w.Life))
	s, err := openSite(w.Dir, blockdev.GroupOptions{
		ApplyInterval: time.Duration(1+dice.IntN(100)) * time.Millisecond, SyncInterval: time.Duration(1+dice.IntN(300)) * time.Millisecond, FullWait: time.Minute})
	if err != nil {
		return err
	}
	defer s.close()
	head := s.j.Head().LSN
	if err := (report{reportOpen, head}).send(w.Out); err != nil {
		return err
	}
	for {
		head++
		o := killOp(w.Seed, w.Life, head)
		done := report{reportAcked, head}
		if o.fua {
			done.kind = reportFlushed
		}
		if w.Mode == EarlyReply {
			if err := done.send(w.Out); err != nil {
				return err
			}
		}
		if err := o.issue(s.g.Volumes()[o.disk]); err != nil {
			return err
		}
		if w.Mode != EarlyReply {
			if err := done.send(w.Out); err != nil {
				return err
			}
		}
	}
}

// site is a group over real files of this host.
type site struct {
	j *journal.Journal
	g *blockdev.Group
}

// openSite opens what makeSite has made, after whatever happened to it.
func openSite(dir string, o blockdev.GroupOptions) (*site, error) {
	var ms []blockdev.Member
	release := func() {
		for _, m := range ms {
			_ = m.Backing.Close() // nothing was written
		}
	}
	for i, n := range killSizes() {
		im, err := blockdev.OpenImage(imagePath(dir, i), n)
		if err != nil {
			release()
			return nil, err
		}
		ms = append(ms, blockdev.Member{Backing: im, Disk: diskInfo(i, n)})
	}
	j, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{SegmentSize: 4 << 20, MaxBytes: 64 << 20,
		Start: redoubt.Position{Epoch: 1}, Create: true})
	if err != nil {
		release()
		return nil, err
	}
	g, err := blockdev.OpenGroup(j, ms, o)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return &site{j: j, g: g}, nil
}

func (s *site) close() error { return errors.Join(s.g.Close(), s.j.Close()) }

func imagePath(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("d%d.img", i+1)) }
