package site

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CanMount says whether this host lets a kernel file system sit on an NBD
// socket (root, /dev/fuse, loop devices, nbdfuse); the error says what is missing.
func CanMount() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	for _, dev := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(dev); err != nil {
			return err
		}
	}
	for _, name := range []string{"nbdfuse", "losetup", "mount", "umount"} {
		if _, err := exec.LookPath(tool(name)); err != nil {
			return err
		}
	}
	return nil
}

// Mount is a kernel file system on an NBD export.
type Mount struct {
	Path string // of the file system
	dev  *Device
}

// MountNBD mounts the ext4 file system on a unix socket's export. dir must not
// exist.
func MountNBD(ctx context.Context, dir, socket, export string) (*Mount, error) {
	m := &Mount{Path: filepath.Join(dir, "fs")}
	if err := os.MkdirAll(m.Path, 0o700); err != nil {
		return nil, err
	}
	var err error
	if m.dev, err = AttachNBD(ctx, filepath.Join(dir, "disk"), socket, export); err != nil {
		return nil, err
	}
	if _, err := command(ctx, "mount", "-t", "ext4", "-o", "errors=remount-ro,discard", m.dev.Path, m.Path); err != nil {
		return nil, errors.Join(err, m.dev.Close())
	}
	return m, nil
}

// Close unmounts. It also works, and gives errors of no interest, when the
// export is gone: what the kernel could not write is dropped.
func (m *Mount) Close() error {
	_, err := command(context.Background(), "umount", m.Path)
	if err != nil {
		_, lazy := command(context.Background(), "umount", "-l", m.Path)
		err = errors.Join(err, lazy)
	}
	return errors.Join(err, m.dev.Close())
}

// command runs a program of the system and returns what it prints; the error
// holds what it complained about.
func command(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool(argv[0]), argv[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// tool finds a program, also in the folders that are on root's path only.
func tool(name string) string {
	if _, err := exec.LookPath(name); err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			p := filepath.Join(dir, name)
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	return name
}
