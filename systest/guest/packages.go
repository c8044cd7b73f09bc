package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Cache returns the folder that keeps the packages between runs.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "redoubt", "guest"), err
}

// ErrNoPackages means that the packages cannot be had on this host.
var ErrNoPackages = errors.New("the guest's Debian packages cannot be had")

// fetch downloads and unpacks what a guest is made of, once, and returns the
// root of the unpacked tree. Remove the cache for newer packages.
func fetch(ctx context.Context) (root string, err error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	root = filepath.Join(cache, "root")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	for _, p := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(p); err != nil {
			return "", fmt.Errorf("%w: %w", ErrNoPackages, err)
		}
	}
	debs := filepath.Join(cache, "debs")
	if err := os.MkdirAll(filepath.Join(debs, "partial"), 0o755); err != nil {
		return "", err
	}
	if err := download(ctx, debs); err != nil {
		if os.Geteuid() != 0 {
			return "", fmt.Errorf("%w: %w", ErrNoPackages, err)
		}
		_, uerr := run(ctx, debs, "apt-get", "update") // the lists may be older than the archive
		if uerr = errors.Join(uerr, download(ctx, debs)); uerr != nil {
			return "", fmt.Errorf("%w: %w", ErrNoPackages, uerr)
		}
	}
	return root, unpack(ctx, debs, root)
}

// download gets the programs with all that they depend on, as for an empty host
// (whatever this one has), and the kernel alone.
func download(ctx context.Context, debs string) error {
	status := filepath.Join(debs, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return err
	}
	if _, err := run(ctx, debs, "apt-get", "install", "-y", "--download-only", "--no-install-recommends",
		"-o", "Dir::State::status="+status, "-o", "Dir::Cache::archives="+debs, "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=",
		"busybox-static", "e2fsprogs", "nbd-client"); err != nil {
		return err
	}
	out, err := run(ctx, debs, "apt-cache", "depends", "linux-image-cloud-amd64")
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("apt-cache names no kernel:\n%s", out)
	}
	_, err = run(ctx, debs, "apt-get", "download", "-o", "APT::Sandbox::User=", m[1])
	return err
}

// unpack makes root, whole or not at all.
func unpack(ctx context.Context, debs, root string) error {
	all, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(root), "unpack")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	for _, deb := range all {
		if _, err := run(ctx, debs, "dpkg-deb", "-x", deb, fresh); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, root); err != nil && !errors.Is(err, os.ErrExist) { // another test run was quicker
		return err
	}
	return nil
}

func run(ctx context.Context, dir string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
