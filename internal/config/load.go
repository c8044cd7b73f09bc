package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/redoubt-dr/redoubt"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads the file at path, fills in defaults and checks it. What is wrong
// with its content is returned as Faults inside a *redoubt.Error.
func Load(path string) (*Config, error) {
	fail := func(err error, hint string) (*Config, error) {
		return nil, &redoubt.Error{Op: "read config", Object: path, Err: err, Hint: hint}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(redoubt.ErrNotFound, "redoubtd --config FILE takes another one; examples are in packaging/examples")
	}
	if err != nil {
		return fail(err, "")
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return fail(err, "")
	case len(b) > maxFile:
		return fail(fmt.Errorf("larger than %s: %w", Size(maxFile), redoubt.ErrInvalid), "")
	}
	c, err := Parse(b)
	if err != nil {
		return fail(err, "every key is explained in docs/CONFIG.md")
	}
	return c, nil
}

// Parse reads a configuration, fills in defaults and checks it. The error is
// of type Faults.
func Parse(b []byte) (*Config, error) {
	c := &Config{}
	if err := Decode(b, c, func() Faults { c.derive(); return Check(c) }); err != nil {
		return nil, err
	}
	return c, nil
}
