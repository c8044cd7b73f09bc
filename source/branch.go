package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

// Branch is a tail of writes that only this side had when the secondary took
// over. It is kept until it is dropped.
type Branch struct {
	ID string `json:"id"` // EPOCH-after-LSN
	journal.BranchInfo
}

const (
	branchFolder = "branches"
	droppedMark  = ".dropped" // on a folder that is being deleted
)

var branchID = regexp.MustCompile(`^[0-9]+-after-[0-9]+$`)

func branchName(e redoubt.Epoch, fork redoubt.LSN) string { return fmt.Sprintf("%d-after-%d", e, fork) }

func (g *Group) branchDir(id string) string {
	return filepath.Join(g.host.groupDir(g.cfg.Name), branchFolder, id)
}

// saveBranch keeps the journal's records behind after, and returns the folder.
// If an earlier attempt has kept them, it stays.
func (g *Group) saveBranch(id string, after redoubt.LSN) (string, error) {
	dir := g.branchDir(id)
	info, err := g.journal.SaveBranch(dir, after)
	if errors.Is(err, redoubt.ErrExists) {
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	return dir, noteBranch(dir, info)
}

// noteBranch keeps what a branch holds beside it, so that a list need not read
// the branch.
func noteBranch(dir string, info journal.BranchInfo) error {
	b, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return vfs.WriteAtomic(vfs.OS, dir+".json", append(b, '\n'))
}

// Branches lists the group's branches, by epoch and fork. The error wraps
// redoubt.ErrCorrupt if one cannot be read.
func (g *Group) Branches() ([]Branch, error) {
	es, err := os.ReadDir(g.branchDir(""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Branch
	for _, e := range es {
		if !e.IsDir() || !branchID.MatchString(e.Name()) {
			continue
		}
		info, err := g.branchInfo(e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, Branch{ID: e.Name(), BranchInfo: info})
	}
	slices.SortFunc(out, func(a, b Branch) int { return a.After.Compare(b.After) })
	return out, nil
}

func (g *Group) branchInfo(id string) (info journal.BranchInfo, err error) {
	dir := g.branchDir(id)
	b, err := os.ReadFile(dir + ".json")
	if err == nil {
		err = json.Unmarshal(b, &info)
	}
	if err == nil {
		return info, nil
	}
	// A crash came before the note, or an older redoubtd wrote none.
	if info, err = journal.DescribeBranch(dir, journal.Options{Logger: g.log}); err != nil {
		return info, err
	}
	return info, noteBranch(dir, info)
}

// branch returns a branch by its ID, which may come from a peer.
func (g *Group) branch(op, id string) (Branch, error) {
	bs, err := g.Branches()
	if err != nil {
		return Branch{}, err
	}
	i := slices.IndexFunc(bs, func(b Branch) bool { return b.ID == id })
	if i < 0 {
		return Branch{}, &redoubt.Error{Op: op, Object: string(g.cfg.Name) + "/" + id, Err: redoubt.ErrNotFound, Hint: "`redoubt branch list` names the branches"}
	}
	return bs[i], nil
}

// ReadBranch calls fn with the branch's writes in order, at most about a
// mebibyte at a time. They are valid during the call only.
func (g *Group) ReadBranch(ctx context.Context, id string, fn func([]redoubt.Write) error) error {
	b, err := g.branch("read branch", id)
	if err != nil {
		return err
	}
	j, err := journal.OpenBranch(g.branchDir(id), journal.Options{Logger: g.log})
	if err != nil {
		return err
	}
	const batch = 1 << 20
	var ws []redoubt.Write
	bytes := 0
	send := func() error {
		if len(ws) == 0 {
			return nil
		}
		err := errors.Join(ctx.Err(), fn(ws))
		ws, bytes = ws[:0], 0
		return err
	}
	err = j.Replay(b.First, func(w *redoubt.Write) error {
		ws, bytes = append(ws, *w), bytes+len(w.Data)
		if bytes < batch && len(ws) < 1024 {
			return nil
		}
		return send()
	})
	if err == nil {
		err = send()
	}
	return errors.Join(err, j.Close())
}

// DropBranch deletes a branch for good.
func (g *Group) DropBranch(id string) (Branch, error) {
	g.step.Lock()
	defer g.step.Unlock()
	b, err := g.branch("drop branch", id)
	if err != nil {
		return b, err
	}
	dir := g.branchDir(id)
	if r := g.Role(); r.Branch == dir { // nobody shall be told of it any more
		r.Branch = ""
		if err := r.save(g.journal); err != nil {
			return b, err
		}
		g.mu.Lock()
		g.role = r
		g.mu.Unlock()
	}
	if err := os.Rename(dir, dir+droppedMark); err != nil {
		return b, err
	}
	if err := vfs.OS.SyncDir(filepath.Dir(dir)); err != nil {
		return b, err
	}
	g.log.Warn("branch dropped", "branch", id, "records", b.Records, "bytes", b.Bytes)
	return b, errors.Join(os.Remove(dir+".json"), g.sweepBranches())
}

// sweepBranches finishes what a crash has left of a drop.
func (g *Group) sweepBranches() error {
	es, err := os.ReadDir(g.branchDir(""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range es {
		if strings.HasSuffix(e.Name(), droppedMark) {
			err = errors.Join(err, os.RemoveAll(g.branchDir(e.Name())))
		}
	}
	return err
}
