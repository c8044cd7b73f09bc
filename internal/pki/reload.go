package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Reload reads the folder again and reports whether anything has changed. From
// then on new connections use what is new. The identity must be the same, and
// the certificate valid at now. On an error the old credentials stay in use.
func (c *Credentials) Reload(now time.Time) (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, m, err := read(c.dir)
	if err != nil {
		return false, err
	}
	old := c.now.Load()
	if bytes.Equal(m.cert.Leaf.Raw, old.cert.Leaf.Raw) && bytes.Equal(m.ca.Raw, old.ca.Raw) {
		return false, nil
	}
	if id != c.id {
		return false, &redoubt.Error{Op: "load certificate", Object: c.dir, Hint: "another identity needs another configuration and a restart",
			Err: fmt.Errorf("it is for %s, and this is %s: %w", id, c.id, redoubt.ErrInvalid)}
	}
	if err := m.valid(c.dir, now); err != nil {
		return false, err
	}
	c.now.Store(m)
	return true, nil
}

// Valid returns nil if the certificate and its authority's are valid at now.
// Load does not ask: a daemon whose certificate has expired serves its disks all the same.
func (c *Credentials) Valid(now time.Time) error { return c.now.Load().valid(c.dir, now) }

func (m *material) valid(dir string, now time.Time) error {
	for _, x := range []*x509.Certificate{m.cert.Leaf, m.ca} {
		if now.Before(x.NotBefore) || now.After(x.NotAfter) {
			return &redoubt.Error{Op: "load certificate", Object: dir, Hint: "issue another one, or set the clock",
				Err: fmt.Errorf("valid from %s to %s only: %w", x.NotBefore.Format(time.RFC3339), x.NotAfter.Format(time.RFC3339), redoubt.ErrInvalid)}
		}
	}
	return nil
}

// Follow reloads at every tick, until ctx is done, and logs what came of it. An
// error is logged once, not at every tick: while somebody copies the files they
// do not fit each other.
func (c *Credentials) Follow(ctx context.Context, tick <-chan time.Time, log *slog.Logger) {
	said := ""
	for {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-tick:
		}
		changed, err := c.Reload(now)
		switch {
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			log.Error("the certificate on disk cannot be used, the old one stays in use", "err", err, "hint", redoubt.Hint(err))
		}
		if changed {
			log.Info("certificate reloaded", "identity", c.id.String(), "expires", c.now.Load().cert.Leaf.NotAfter)
		}
	}
}
