package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// identity is what makes a group itself, whatever its configuration says
// later: its UUID, and the numbers that its disks have in every record.
// It is written to group.json before the first record, and before a disk grows.
type identity struct {
	Version int            `json:"version"`
	UUID    string         `json:"uuid"`
	Disks   []redoubt.Disk `json:"disks"`
}

const (
	identityVersion = 1
	identityFile    = "group.json"
)

// loadIdentity reads dir/group.json, or makes it from the disks as they are
// configured. Disks that have since become smaller, and another set of disks,
// are refused: their history would not fit.
func loadIdentity(dir string, want []redoubt.Disk) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := identity{Version: identityVersion, UUID: uuid.NewString(), Disks: want}
		return id, writeIdentity(path, id)
	}
	if err != nil {
		return identity{}, err
	}
	var id identity
	if err := json.Unmarshal(b, &id); err != nil {
		return identity{}, &redoubt.Error{Op: "read", Object: path, Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err)}
	}
	if id.Version > identityVersion {
		return identity{}, &redoubt.Error{Op: "read", Object: path, Hint: "install the newer redoubtd again", Err: redoubt.ErrVersion}
	}
	return id, id.match(path, want)
}

// match checks that the configured disks are those of the identity, and gives
// them its numbers and sizes.
func (id identity) match(path string, want []redoubt.Disk) error {
	if len(want) != len(id.Disks) {
		return &redoubt.Error{Op: "open group", Object: path, Err: redoubt.ErrInvalid,
			Hint: fmt.Sprintf("the group was made with %d disks and the configuration names %d", len(id.Disks), len(want))}
	}
	for i := range want {
		d, ok := id.disk(want[i].Name)
		if !ok {
			return &redoubt.Error{Op: "open group", Object: path, Err: redoubt.ErrInvalid,
				Hint: "disk " + want[i].Name + " is not one of the disks that the group was made with"}
		}
		if d.Size > want[i].Size {
			return &redoubt.Error{Op: "open disk", Object: want[i].Name, Err: redoubt.ErrInvalid,
				Hint: fmt.Sprintf("it was protected with %d bytes and has %d now; give it back its size: a protected disk does not shrink", d.Size, want[i].Size)}
		}
		want[i] = d // what a larger image has more is used after "redoubt disk grow"
	}
	return nil
}

func (id identity) disk(name string) (redoubt.Disk, bool) {
	for _, d := range id.Disks {
		if d.Name == name {
			return d, true
		}
	}
	return redoubt.Disk{}, false
}

func writeIdentity(path string, id identity) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return vfs.WriteAtomic(vfs.OS, path, append(b, '\n'))
}
