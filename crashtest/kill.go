package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
)

// Command returns the process that runs w.Work with its standard output as
// w.Out; w.Out itself is nil.
type Command func(w Worker) *exec.Cmd

// killer judges one folder whose writer is killed again and again.
type killer struct {
	w       Worker
	command Command
	rng     *rand.Rand
	tally   *Tally

	born   []redoubt.LSN // head at the beginning of each life
	early  int           // processes in a row that were killed before they were open
	acked  redoubt.LSN   // every write up to here was acknowledged
	images [][]byte      // the disks after write number played
	played redoubt.LSN
}

// makeSite makes the images of a new folder below dir, which must be there.
func makeSite(dir string) (string, error) {
	dir, err := os.MkdirTemp(dir, "crashtest-")
	if err != nil {
		return "", err
	}
	for i, n := range killSizes() {
		if err := os.WriteFile(imagePath(dir, i), nil, 0o600); err != nil {
			return dir, err
		}
		if err := os.Truncate(imagePath(dir, i), int64(n)); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// killRounds kills processes until ctx ends or something is lost; it removes
// what it made in dir unless there is a finding.
func killRounds(ctx context.Context, dir string, seed uint64, mode Mode, command Command, t *Tally) error {
	dir, err := makeSite(dir)
	if err != nil {
		return &redoubt.Error{Op: "prepare crash test", Object: dir, Err: err, Hint: "choose a folder on the disk to be tested with --dir"}
	}
	k := &killer{w: Worker{Dir: dir, Seed: seed, Mode: mode}, command: command, rng: rand.New(rand.NewPCG(seed, 3)), tally: t, images: blank(killSizes())}
	t.Rounds++
	for err == nil && ctx.Err() == nil {
		err = k.life(ctx)
	}
	if err == nil {
		err = k.judge() // what the last life left, if it was not looked at
	}
	if err != nil && mode == Sound {
		return fmt.Errorf("%w (after %d lives; the folder %s is kept)", err, len(k.born), dir)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// life lets one process write, kills it, and judges what it leaves.
func (k *killer) life(ctx context.Context) error {
	k.w.Life = uint64(len(k.born))
	cmd := k.command(k.w)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return &redoubt.Error{Op: "start crash test worker", Object: cmd.Path, Err: err}
	}
	// The moment of the kill is part of the test: from the first instructions of
	// the open on. A loaded machine needs longer to get any further.
	timer := time.AfterFunc(time.Duration(5+k.rng.IntN(400*(1+k.early)))*time.Millisecond, func() { _ = cmd.Process.Kill() })
	stopped := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	err = k.listen(out)
	timer.Stop()
	stopped()
	_ = cmd.Process.Kill() // if it has not been yet
	werr := cmd.Wait()
	if err != nil {
		return err
	}
	if msg := strings.TrimSpace(stderr.String()); msg != "" {
		if err := k.judge(); err != nil { // says more than the worker
			return err
		}
		return &redoubt.Error{Op: "crash test worker", Object: k.w.Dir, Err: fmt.Errorf("it failed by itself: %s (%v)", msg, werr)}
	}
	k.tally.RealKills++
	k.early++
	if len(k.born) > int(k.w.Life) {
		k.early = 0
	} else {
		k.tally.Recoveries++
	}
	if k.rng.IntN(3) == 0 {
		return nil // the next life replays what this one left, and may be killed at that
	}
	return k.judge()
}

// listen takes down what the worker reports until it is dead.
func (k *killer) listen(out io.Reader) error {
	for {
		r, err := receive(out)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch r.kind {
		case reportOpen:
			if err := checkHead(r.lsn, k.acked, k.acked+1); err != nil {
				return err
			}
			k.born, k.acked = append(k.born, r.lsn), r.lsn
		case reportAcked, reportFlushed:
			if r.lsn != k.acked+1 {
				return found(1, "the worker acknowledged write %d after %d", r.lsn, k.acked)
			}
			k.acked = r.lsn
			k.tally.Acknowledged++
			if r.kind == reportFlushed {
				k.tally.Flushed++
			}
		default:
			return fmt.Errorf("report of kind %q: %w", r.kind, redoubt.ErrInvalid)
		}
	}
}

// opOf returns the write with that LSN: of the last life that began before it.
func (k *killer) opOf(l redoubt.LSN) *op {
	life := sort.Search(len(k.born), func(i int) bool { return k.born[i] >= l }) - 1
	o := killOp(k.w.Seed, uint64(life), l)
	return &o
}

// judge opens the folder in this process and checks everything that was
// acknowledged (S1 for kill -9).
func (k *killer) judge() error {
	s, err := openSite(k.w.Dir, blockdev.GroupOptions{ApplyInterval: time.Hour, SyncInterval: time.Hour})
	if err != nil {
		return err
	}
	if err := k.check(s); err != nil {
		return errors.Join(err, s.close())
	}
	return s.close()
}

func (k *killer) check(s *site) error {
	head := s.j.Head().LSN
	if err := checkHead(head, k.acked, k.acked+1); err != nil { // one may be under way
		return err
	}
	k.acked = head
	if err := checkJournal(s.j, k.opOf); err != nil {
		return err
	}
	for ; k.played < head; k.played++ {
		k.opOf(k.played + 1).play(k.images)
	}
	for i, v := range s.g.Volumes() {
		got := make([]byte, len(k.images[i]))
		if err := v.ReadAt(got, 0); err != nil {
			return err
		}
		if d := differ(got, k.images[i]); d != "" {
			return found(1, "disk %d (%s) at write %d: %s", i+1, filepath.Base(imagePath(k.w.Dir, i)), head, d)
		}
	}
	return nil
}
