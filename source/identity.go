package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// identity is what makes a group itself, whatever its configuration says
// later: its UUID, and the numbers that its disks have in every record.
// It is written to group.json before the first record, and before its disks change.
type identity struct {
	Version int            `json:"version"`
	UUID    string         `json:"uuid"`
	Disks   []redoubt.Disk `json:"disks"` // by rising number
	// Next is larger than all numbers that the group's disks ever had.
	Next redoubt.DiskID `json:"next,omitempty"`
	// Joining are those of Disks that are being added, Leaving those of Gone whose
	// end the secondary may not know.
	Joining []redoubt.DiskID `json:"joining,omitempty"`
	Leaving []redoubt.DiskID `json:"leaving,omitempty"`
	Gone    []redoubt.Disk   `json:"gone,omitempty"`
	// Lingers are disks that were removed and that the configuration still names.
	Lingers []string `json:"lingers,omitempty"`
	// Wanted are disks that the way back has and this host has not. Foreign are
	// those that it has got for that: their content is not the group's yet.
	Wanted  []redoubt.Disk   `json:"wanted,omitempty"`
	Foreign []redoubt.DiskID `json:"foreign,omitempty"`
}

const (
	identityVersion = 1
	identityFile    = "group.json"
	// maxGone is how many disks that were removed are remembered: the journal may
	// have records of them.
	maxGone = 256
)

// readIdentity reads dir/group.json; known is false if there is none.
func readIdentity(dir string) (id identity, known bool, err error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, err
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return identity{}, false, &redoubt.Error{Op: "read", Object: path, Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err)}
	}
	if id.Version > identityVersion {
		return identity{}, false, &redoubt.Error{Op: "read", Object: path, Hint: "install the newer redoubtd again", Err: redoubt.ErrVersion}
	}
	return id, true, nil
}

// settle gives the configured disks their numbers and sizes, and makes what is new
// durable. Disks that have become smaller are refused, and so is a configuration
// without a disk that was not removed: it may be a slip.
func (id *identity) settle(dir string, known bool, want []redoubt.Disk) error {
	path := filepath.Join(dir, identityFile)
	if !known {
		for i := range want {
			want[i].ID = redoubt.DiskID(i + 1)
		}
		*id = identity{Version: identityVersion, UUID: uuid.NewString(), Disks: slices.Clone(want), Next: redoubt.DiskID(len(want) + 1)}
		return writeIdentity(path, *id)
	}
	before := fmt.Sprint(*id)
	for _, d := range slices.Concat(id.Disks, id.Gone) {
		id.Next = max(id.Next, d.ID+1)
	}
	for _, d := range id.Disks {
		if !slices.ContainsFunc(want, func(w redoubt.Disk) bool { return w.Name == d.Name }) {
			return &redoubt.Error{Op: "open group", Object: path, Err: fmt.Errorf("the configuration does not name disk %s: %w", d.Name, redoubt.ErrInvalid),
				Hint: "put it back; to remove it, start with it and use `redoubt disk remove GROUP " + d.Name + "` first"}
		}
	}
	for i := range want {
		d, ok := id.disk(want[i].Name)
		if !ok {
			d = id.add(want[i])
		}
		if d.Size > want[i].Size {
			return &redoubt.Error{Op: "open disk", Object: want[i].Name, Err: redoubt.ErrInvalid,
				Hint: fmt.Sprintf("it was protected with %d bytes and has %d now; give it back its size: a protected disk does not shrink", d.Size, want[i].Size)}
		}
		want[i] = d // what a larger image has more is used after "redoubt disk grow"
	}
	if fmt.Sprint(*id) == before {
		return nil
	}
	return writeIdentity(path, *id)
}

// add takes in a disk that the configuration names and the group did not have:
// one that the way back wants, or a new one, which joins.
func (id *identity) add(d redoubt.Disk) redoubt.Disk {
	if i := slices.IndexFunc(id.Wanted, func(w redoubt.Disk) bool { return w.Name == d.Name }); i >= 0 {
		d = id.Wanted[i]
		id.Wanted = slices.Delete(slices.Clone(id.Wanted), i, i+1)
		id.Gone = slices.DeleteFunc(slices.Clone(id.Gone), func(k redoubt.Disk) bool { return k.ID == d.ID })
		id.Leaving = without(id.Leaving, d.ID)
		id.Foreign = append(slices.Clone(id.Foreign), d.ID)
	} else {
		d.ID = id.Next
		id.Joining = append(slices.Clone(id.Joining), d.ID)
	}
	id.Next = max(id.Next, d.ID+1)
	id.Disks = append(slices.Clone(id.Disks), d)
	slices.SortFunc(id.Disks, func(a, b redoubt.Disk) int { return int(a.ID) - int(b.ID) })
	return d
}

// remove takes a disk out. Its number is not used again.
func (id *identity) remove(d redoubt.Disk) {
	id.Disks = slices.DeleteFunc(slices.Clone(id.Disks), func(k redoubt.Disk) bool { return k.ID == d.ID })
	id.Joining, id.Foreign = without(id.Joining, d.ID), without(id.Foreign, d.ID)
	id.Gone = append(slices.Clone(id.Gone), d)
	id.Gone = id.Gone[max(0, len(id.Gone)-maxGone):]
	id.Leaving = append(slices.Clone(id.Leaving), d.ID)
	id.Lingers = append(slices.Clone(id.Lingers), d.Name)
	id.Next = max(id.Next, d.ID+1)
}

// linger returns the configured disks that are not removed ones, and notes which of
// those the configuration has dropped: from then on the name is free.
func (id *identity) linger(configured []DiskConfig) (out []DiskConfig) {
	var still []string
	for _, d := range configured {
		wanted := slices.ContainsFunc(id.Wanted, func(w redoubt.Disk) bool { return w.Name == d.Name })
		if slices.Contains(id.Lingers, d.Name) && !wanted {
			still = append(still, d.Name)
		} else {
			out = append(out, d)
		}
	}
	id.Lingers = still
	return out
}

// without returns the list without one number.
func without(list []redoubt.DiskID, id redoubt.DiskID) []redoubt.DiskID {
	return slices.DeleteFunc(slices.Clone(list), func(k redoubt.DiskID) bool { return k == id })
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
