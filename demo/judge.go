package demo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// judge reads exported disks whole and compares them with the model at p, and
// has e2fsck look at the file system after a replay of its journal.
func (t *tour) judge(ctx context.Context, exported []*adminv1.Disk, p redoubt.Position) error {
	if err := t.state.Seek(p); err != nil {
		return err
	}
	for _, d := range t.disks {
		x, err := find(exported, d.Name)
		if err != nil {
			return err
		}
		if err := t.judgeDisk(ctx, x, d); err != nil {
			return fmt.Errorf("at %s: %w", p, err)
		}
	}
	return nil
}

func (t *tour) judgeDisk(ctx context.Context, x *adminv1.Disk, d redoubt.Disk) error {
	copyPath := t.path("copy-" + d.Name)
	defer os.Remove(copyPath)
	got, err := download(ctx, x, d.Size, copyPath)
	if err != nil {
		return fmt.Errorf("read %s: %w", x.Uri, err)
	}
	want, err := t.state.Hash(d.ID)
	if err != nil {
		return err
	}
	t.judgments++
	if got != want {
		return fmt.Errorf("hash of disk %s is %s, the model's is %s: %w", d.Name, got, want, t.state.Judge(d.ID, copyPath))
	}
	verdict := "equals the model"
	if d.ID == 1 {
		if err := site.CheckExt4(ctx, copyPath); err != nil {
			return err
		}
		verdict += "; e2fsck -fn: clean"
	}
	t.fact("sha256 of "+d.Name, "%s… %s", got, verdict)
	return nil
}

// download copies a disk to a new file and returns its hash.
func download(ctx context.Context, x *adminv1.Disk, want uint64, path string) (oracle.Hash, error) {
	c, err := oracle.Dial(ctx, x.Socket, x.Export)
	if err != nil {
		return oracle.Hash{}, err
	}
	defer c.Close()
	if c.Size() != want {
		return oracle.Hash{}, fmt.Errorf("size %d, want %d", c.Size(), want)
	}
	f, err := os.Create(path)
	if err != nil {
		return oracle.Hash{}, err
	}
	defer f.Close()
	if err := f.Truncate(int64(want)); err != nil {
		return oracle.Hash{}, err
	}
	h := sha256.New()
	if err := c.CopyTo(io.MultiWriter(h, &oracle.SparseWriter{F: f})); err != nil {
		return oracle.Hash{}, err
	}
	return oracle.Hash(h.Sum(nil)), f.Close()
}

// scribble writes a sector of each disk directly, past the model: what is
// written there must vanish with the export.
func scribble(ctx context.Context, exported []*adminv1.Disk) error {
	for _, x := range exported {
		c, err := oracle.Dial(ctx, x.Socket, x.Export)
		if err != nil {
			return err
		}
		b := make([]byte, 4096)
		copy(b, "thrown away with the export")
		if err := errors.Join(c.Write(b, 0, true), c.Write(b, x.Size/2&^511, true), c.Close()); err != nil {
			return fmt.Errorf("write to %s: %w", x.Uri, err)
		}
	}
	return nil
}

func position(p *adminv1.Position) redoubt.Position {
	return redoubt.Position{Epoch: redoubt.Epoch(p.GetEpoch()), LSN: redoubt.LSN(p.GetLsn())}
}
