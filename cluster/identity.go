package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
)

const identityFile = "node.json"

// identity says who the folder belongs to. Instance is random: with the folder
// the node's votes are lost, and a node without them must not vote again
// under the same ID.
type identity struct {
	Version  int            `json:"version"`
	ID       redoubt.NodeID `json:"id"`
	Instance string         `json:"instance"`
}

// loadIdentity reads the folder's identity, or makes it when there is none.
func loadIdentity(dir string, id redoubt.NodeID) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeIdentity(dir, id)
	}
	var v identity
	if err == nil {
		v, err = decodeIdentity(b)
	}
	switch {
	case err != nil:
		return identity{}, fail("read node identity", path, err, "")
	case v.ID != id:
		return identity{}, fail("read node identity", path, fmt.Errorf("the folder belongs to node %s: %w", v.ID, redoubt.ErrInvalid),
			"set the node's id to "+string(v.ID)+" or give it an empty folder")
	}
	return v, nil
}

// decodeIdentity reads an identity. It has no checksum; Verify holds it against the
// catalog.
func decodeIdentity(b []byte) (v identity, err error) {
	switch err := json.Unmarshal(b, &v); {
	case err != nil:
		return identity{}, fmt.Errorf("%w: %w", err, redoubt.ErrCorrupt)
	case v.Version > 1:
		return identity{}, redoubt.ErrVersion
	case v.Version < 1 || redoubt.ValidName("node", string(v.ID)) != nil || redoubt.ValidName("instance", v.Instance) != nil:
		return identity{}, redoubt.ErrCorrupt
	}
	return v, nil
}

func makeIdentity(dir string, id redoubt.NodeID) (identity, error) {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	v := identity{Version: 1, ID: id, Instance: hex.EncodeToString(raw[:])}
	b, err := json.Marshal(v)
	if err == nil {
		err = writeFileSync(dir, identityFile, b)
	}
	if err != nil {
		return identity{}, fail("write node identity", dir, err, "")
	}
	return v, nil
}

// writeFileSync replaces a file so that a power cut leaves the old or the new one.
func writeFileSync(dir, name string, b []byte) error {
	f, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
