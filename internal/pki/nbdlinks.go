package pki

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
)

// Link is a second name of a file in the same folder.
type Link struct{ Name, File string }

// NBDLinks returns the names under which NBD clients (libnbd, QEMU) look for
// the files of their identity.
func NBDLinks() []Link {
	return []Link{{"ca-cert.pem", CACertFile}, {"client-cert.pem", NodeCertFile}, {"client-key.pem", NodeKeyFile}}
}

// LinkForNBD puts these names into dir, as symbolic links, so that dir can be
// given as tls-certificates=DIR of an nbds:// URI. Names that exist stay.
func LinkForNBD(dir string) error {
	for _, l := range NBDLinks() {
		if err := os.Symlink(l.File, filepath.Join(dir, l.Name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return &redoubt.Error{Op: "link", Object: filepath.Join(dir, l.Name), Err: err}
		}
	}
	return nil
}
