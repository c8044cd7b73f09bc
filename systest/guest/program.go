package guest

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// needs returns, as paths below root, the program there and the libraries and
// the loader that it needs.
func needs(root, program string) ([]string, error) {
	seen := map[string]bool{}
	var walk func(path string) error
	walk = func(path string) error {
		if seen[path] {
			return nil
		}
		seen[path] = true
		f, err := elf.Open(filepath.Join(root, path))
		if err != nil {
			return err
		}
		defer f.Close()
		libs, err := f.ImportedLibraries()
		if err != nil {
			return err
		}
		for _, lib := range libs {
			p, err := library(root, lib)
			if err == nil {
				err = walk(p)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return nil
	}
	if err := walk(program); err != nil {
		return nil, err
	}
	var all []string
	for p := range seen {
		all = append(all, p)
	}
	return all, nil
}

// library finds a library in the unpacked packages, which are of merged and of
// unmerged /usr.
func library(root, name string) (string, error) {
	for _, dir := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64"} {
		if _, err := os.Stat(filepath.Join(root, dir, name)); err == nil {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("library %s is in no package", name)
}

// firstOf returns the first of these paths that is below root.
func firstOf(root string, paths ...string) (string, error) {
	for _, p := range paths {
		if _, err := os.Stat(filepath.Join(root, p)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("none of %s is in the packages", strings.Join(paths, ", "))
}

// modules returns the paths below root of kernel modules with those that they
// depend on, in the order in which they can be loaded. Modules that the kernel
// has built in are left out.
func modules(root string, names ...string) (kernel string, files []string, err error) {
	vm, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(vm) == 0 {
		return "", nil, errors.Join(err, errors.New("no kernel in the packages"))
	}
	version := strings.TrimPrefix(filepath.Base(vm[0]), "vmlinuz-")
	have := map[string]string{}
	for _, dir := range []string{"lib/modules", "usr/lib/modules"} {
		err = errors.Join(err, filepath.WalkDir(filepath.Join(root, dir, version), func(p string, _ os.DirEntry, err error) error {
			if name, ok := strings.CutSuffix(filepath.Base(p), ".ko"); ok {
				have[strings.ReplaceAll(name, "-", "_")], _ = filepath.Rel(root, p)
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}))
	}
	done := map[string]bool{}
	var load func(name string) error
	load = func(name string) error {
		path, ok := have[name]
		if done[name] || !ok {
			return nil
		}
		done[name] = true
		f, err := elf.Open(filepath.Join(root, path))
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Section(".modinfo").Data()
		if err != nil {
			return err
		}
		for _, line := range strings.Split(string(info), "\x00") {
			if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
				for _, d := range strings.Split(list, ",") {
					if err := load(strings.ReplaceAll(d, "-", "_")); err != nil {
						return err
					}
				}
			}
		}
		files = append(files, path)
		return nil
	}
	for _, n := range names {
		err = errors.Join(err, load(n))
	}
	return vm[0], files, err
}
