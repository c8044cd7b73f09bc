package guest

import (
	"context"
	_ "embed"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed init.sh
var initScript []byte

// image is what QEMU boots.
type image struct{ kernel, initramfs string }

// build makes the initramfs at path from the unpacked packages and redoubt, a
// static program.
func build(path, root, redoubt string) (image, error) {
	kernel, mods, err := modules(root, "virtio_pci", "virtio_net", "virtio_console", "nbd", "ext4")
	if err != nil {
		return image{}, err
	}
	files := map[string]string{"bin/redoubt": redoubt} // in the guest: on this host
	for _, m := range mods {
		files[m] = filepath.Join(root, m)
	}
	for _, p := range [][]string{{"bin/busybox", "usr/bin/busybox"}, {"sbin/mke2fs", "usr/sbin/mke2fs"}, {"sbin/nbd-client", "usr/sbin/nbd-client"}} {
		if err := program(files, root, p); err != nil {
			return image{}, err
		}
	}
	return image{kernel, path}, write(path, files, initScript, strings.Join(mods, "\n")+"\n")
}

// Image makes an initramfs at path with busybox, these kernel modules and what they
// need (in the order of the file /modules), and init as its first process. It
// returns the kernel's path. The error wraps ErrNoPackages as that of Boot.
func Image(ctx context.Context, path string, init []byte, names ...string) (kernel string, err error) {
	root, err := fetch(ctx)
	if err != nil {
		return "", err
	}
	kernel, mods, err := modules(root, names...)
	if err != nil {
		return "", err
	}
	files := map[string]string{}
	for _, m := range mods {
		files[m] = filepath.Join(root, m)
	}
	if err := program(files, root, []string{"bin/busybox", "usr/bin/busybox"}); err != nil {
		return "", err
	}
	return kernel, write(path, files, init, strings.Join(mods, "\n")+"\n")
}

// program adds a program with its libraries; the loader's path is fixed in it.
func program(files map[string]string, root string, names []string) error {
	p, err := firstOf(root, names...)
	if err != nil {
		return err
	}
	all, err := needs(root, p)
	if err != nil {
		return err
	}
	for _, f := range all {
		to := filepath.Join("lib/x86_64-linux-gnu", filepath.Base(f))
		if f == p {
			to = names[0]
		} else if strings.HasPrefix(filepath.Base(f), "ld-linux") {
			to = filepath.Join("lib64", filepath.Base(f))
		}
		files[to] = filepath.Join(root, f)
	}
	return nil
}

func write(path string, files map[string]string, init []byte, mods string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	c := &cpio{w: out}
	dirs := map[string]bool{"proc": true, "sys": true, "dev": true, "tmp": true, "mnt": true}
	for _, to := range slices.Sorted(maps.Keys(files)) {
		for d := filepath.Dir(to); d != "."; d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	for _, d := range slices.Sorted(maps.Keys(dirs)) { // parents sort before children
		c.add(d, modeDir, nil)
	}
	c.add("init", modeFile, init)
	c.add("modules", modeFile, []byte(mods))
	for _, to := range slices.Sorted(maps.Keys(files)) {
		b, err := os.ReadFile(files[to])
		if err != nil {
			return err
		}
		c.add(to, modeFile, b)
	}
	return errors.Join(c.close(), out.Close())
}
