package vfs

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
)

// recorded notes which folders were synced. Mem cannot tell: like ext4, it keeps
// the entries above a folder that is synced.
type recorded struct {
	FS
	synced []string
	closed string // nobody may read it
}

func (r *recorded) SyncDir(name string) error {
	if name == r.closed {
		return fs.ErrPermission
	}
	r.synced = append(r.synced, name)
	return r.FS.SyncDir(name)
}

// The entries that are asked for are made durable whoever made the folder, and
// all that MakeDir makes itself.
func TestMakeDir(t *testing.T) {
	for _, c := range []struct {
		there string
		deep  int
		want  []string
	}{
		{"/data", 2, []string{"/data/groups", "/data"}},
		{"/data/groups/shop", 2, []string{"/data/groups", "/data"}}, // its maker was killed before the sync
		{"/data/groups/shop", 1, []string{"/data/groups"}},
		{"/data", 0, []string{"/data/groups", "/data"}},
		{"/", 1, []string{"/data/groups", "/data", "/"}},
	} {
		mem := &recorded{FS: NewMem()}
		if err := errors.Join(mem.MkdirAll(c.there, 0o700), MakeDir(mem, "/data/groups/shop", c.deep)); err != nil {
			t.Fatal(err)
		}
		if st, err := mem.Stat("/data/groups/shop"); err != nil || !st.IsDir() {
			t.Errorf("%+v: %v, %v", c, st, err)
		}
		if !slices.Equal(mem.synced, c.want) {
			t.Errorf("%s is there, %d deep: synced %q, want %q", c.there, c.deep, mem.synced, c.want)
		}
	}
}

// A folder of others that nobody may read keeps no daemon from starting; one that
// was made here must be synced.
func TestMakeDirBelowAClosedFolder(t *testing.T) {
	mem := &recorded{FS: NewMem(), closed: "/srv"}
	if err := errors.Join(mem.MkdirAll("/srv/redoubt", 0o700), MakeDir(mem, "/srv/redoubt", 1)); err != nil {
		t.Error(err)
	}
	if err := MakeDir(mem, "/srv/another", 1); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("made, and not synced: %v", err)
	}
}
