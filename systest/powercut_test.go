package systest

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

var (
	powerRounds = flag.Int("powercut.rounds", 6, "power cuts of TestPowerCut")
	powerSeed   = flag.Uint64("powercut.seed", 0, "seed of the load and of what cuts take; 0: of the clock")
)

// step makes one change.
func (b *powerBed) step() {
	b.Helper()
	op := b.work.Next()
	if room := redoubt.MaxWriteData - op.Extent.Off%redoubt.MaxWriteData; op.Extent.Len > room { // cut there, it would be two writes
		op.Extent.Len = room
		op.Data = op.Data[:min(uint64(len(op.Data)), room)]
	}
	flush := op.Flush
	op.Flush = false
	c := b.load[op.Disk.ID-1]
	b.order.issue(&op)
	b.must(op.Do(c))
	if flush {
		b.must(c.Flush())
	}
	if flush || op.FUA && op.Kind != redoubt.KindTrim {
		b.order.flush()
	}
}

// cut lets the load run into a power cut and returns what it may leave: at a
// random write of the disk, or just when a flush was answered.
func (b *powerBed) cut(path string) (how string, floor, issued int) {
	b.Helper()
	var err error
	done := make(chan struct{})
	take := func() {
		floor = b.order.floor()
		how, err = b.disk.picture(path, b.rng)
		issued = b.order.issued()
		close(done)
	}
	if b.rng.IntN(3) == 0 {
		for range 1 + b.rng.IntN(60) {
			b.step()
		}
		b.must(b.load[b.rng.IntN(len(b.load))].Flush())
		b.order.flush()
		b.disk.locked(take)
		how += ", after the answer of a flush"
	} else {
		b.disk.after(1+b.rng.Int64N(200), take)
		for taken := false; !taken; {
			select {
			case <-done:
				taken = true
			default:
				b.step()
			}
		}
	}
	b.must(err)
	return how, floor, issued
}

// errLost is a breach of the promise: something flushed is not there.
var errLost = errors.New("LOST")

// round cuts the power once and judges what is left.
func (b *powerBed) round(n int) error {
	b.Helper()
	path := b.at("cut.img")
	how, floor, issued := b.cut(path)
	b.tally.cuts++
	b.tally.flushed += floor - b.order.done
	err := b.judge(path, floor, issued)
	if err != nil {
		err = fmt.Errorf("round %d (%s; %d writes flushed, %d made): %w", n, how, floor, issued, err)
	}
	return errors.Join(err, os.Remove(path))
}

// judge opens the picture with programs of its own and compares the disks.
func (b *powerBed) judge(path string, floor, issued int) (err error) {
	root := b.at("c")
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop", path, root).CombinedOutput(); err != nil {
		return fmt.Errorf("the file system does not mount: %w: %s", err, out)
	}
	defer func() {
		b.check.Source.Kill()
		if out, uerr := exec.Command("umount", root).CombinedOutput(); uerr != nil {
			err = errors.Join(err, fmt.Errorf("umount: %w: %s", uerr, out))
		}
	}()
	if _, err := b.check.Run(b.ctx, "journal", "verify", filepath.Join(root, "j")); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	if b.rng.IntN(4) == 0 {
		n, err := damageIndex(root, b.rng)
		if err != nil {
			return err
		}
		b.tally.damaged += n
	}
	if err := b.check.Source.Start(); err != nil {
		return err
	}
	var got [][]byte
	for i, d := range b.disks {
		p, err := b.content(b.paths[i], d)
		if err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		got = append(got, p)
	}
	k, err := b.order.prefix(got, floor, issued)
	b.tally.kept, b.tally.dropped = b.tally.kept+k-floor, b.tally.dropped+issued-k
	return err
}

// content reads a disk of the check as soon as it is served.
func (b *powerBed) content(socket string, d redoubt.Disk) ([]byte, error) {
	var c *oracle.Client
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var err error
		if c, err = oracle.Dial(b.ctx, socket, d.Name); err == nil {
			break
		}
		if dead := b.check.Source.Check(); dead != nil || time.Now().After(deadline) {
			return nil, fmt.Errorf("disk %s is not served: %w", d.Name, errors.Join(err, dead))
		}
	}
	defer c.Close()
	p := make([]byte, d.Size)
	_, err := c.ReadAt(p, 0)
	return p, err
}

// damageIndex overwrites a part of a file of Badger's folder, cuts or removes
// it, and returns 1; 0 if there is none.
func damageIndex(root string, rng *rand.Rand) (n int, err error) {
	list, err := filepath.Glob(filepath.Join(root, "j", "index", "*"))
	if err != nil || len(list) == 0 {
		return 0, err
	}
	path := list[rng.IntN(len(list))]
	fi, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	switch rng.IntN(3) {
	case 0:
		return 1, os.Remove(path)
	case 1:
		return 1, os.Truncate(path, rng.Int64N(fi.Size()+1))
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	noise := make([]byte, 64)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	_, err = f.WriteAt(noise, rng.Int64N(min(fi.Size(), 8192)+1))
	return 1, errors.Join(err, f.Close())
}

// Power cuts of the real program on a real file system: what was flushed is
// there, the disks are a prefix of the order of writes, and a Badger folder in
// any state does not stop the start. More rounds: make powercut ROUNDS=200.
func TestPowerCut(t *testing.T) {
	b := newPowerBed(t, false)
	began, lost := time.Now(), 0
	for n := range *powerRounds {
		if err := b.round(n); err != nil {
			lost++
			t.Errorf("seed %d: %v", b.seed, err)
			if !errors.Is(err, errLost) || lost == 5 {
				break
			}
		}
	}
	if b.disk.flushes == 0 {
		t.Error("no flush has reached the disk: the test does not test")
	}
	t.Logf("powercut: %d cuts in %.0f s, %d flushed writes checked, %d lost; of the others %d were there and %d were not; %d damaged index folders (seed %d)",
		b.tally.cuts, time.Since(began).Seconds(), b.tally.flushed, lost, b.tally.kept, b.tally.dropped, b.tally.damaged, b.seed)
}

// The judge judges: on a file system whose syncs do not reach the disk (ext4
// with barrier=0) flushed writes are lost, and that is seen. So that the file
// system itself survives, this disk keeps the order of writes.
func TestPowerCutIsSeen(t *testing.T) {
	b := newPowerBed(t, true)
	b.disk.ordered = true
	for n := range 20 {
		b.disk.flush() // what a disk does by itself now and then
		if err := b.round(n); errors.Is(err, errLost) {
			t.Logf("seen: %v", err)
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("20 power cuts without any sync, and nothing was missed")
}
