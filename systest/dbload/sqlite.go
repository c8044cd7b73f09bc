package dbload

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// SQLite is a database file in WAL mode, synced at each commit.
type SQLite struct {
	Dir string // on the file system under test
	s   *session
}

// Name says what it is.
func (d *SQLite) Name() string { return "SQLite" }

// Can says whether the host has it.
func (d *SQLite) Can() error { _, err := exec.LookPath("sqlite3"); return err }

func (d *SQLite) file() string { return filepath.Join(d.Dir, "judge.db") }

// Create makes the database. It is open then.
func (d *SQLite) Create() error {
	if err := d.open(); err != nil {
		return err
	}
	sql := "PRAGMA journal_mode=WAL; CREATE TABLE moves (n INTEGER PRIMARY KEY, pad TEXT); CREATE INDEX pads ON moves (pad); CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER);"
	for i := range accounts {
		sql += fmt.Sprintf("INSERT INTO accounts VALUES (%d, 0);", i)
	}
	if got, err := d.s.ask(sql); err != nil || got != "wal" {
		return fmt.Errorf("create: %q %w", got, err)
	}
	_, err := d.s.ask("SELECT 1;")
	return err
}

func (d *SQLite) open() (err error) {
	if d.s, err = newSession("sqlite3", "-batch", "-bail", d.file()); err != nil {
		return err
	}
	_, err = d.s.ask("PRAGMA synchronous=FULL; SELECT 1;")
	return err
}

// Open opens the database, which recovers.
func (d *SQLite) Open() error { return d.open() }

// Commit commits transaction n.
func (d *SQLite) Commit(n int) error {
	return d.s.commit(n, statements(n, fmt.Sprintf("printf('%%0300d', %d)", n)))
}

// Close ends the session in order.
func (d *SQLite) Close() error { return d.s.close() }

// Kill ends it at once.
func (d *SQLite) Kill() {
	if d.s != nil {
		d.s.kill()
	}
}

// Check holds the open database against its own checks and the transactions,
// and closes it. It returns the number of the last transaction.
func (d *SQLite) Check() (int, error) {
	ok, err1 := d.s.ask("PRAGMA integrity_check;")
	if err1 == nil && ok != "ok" {
		err1 = fmt.Errorf("integrity_check: %s", ok)
	}
	rows, err2 := d.s.ask("SELECT count(*), coalesce(max(n), 0), count(*) FILTER (WHERE pad <> printf('%0300d', n)) FROM moves;")
	amounts, err3 := d.s.ask("SELECT group_concat(id || ':' || amount) FROM (SELECT * FROM accounts ORDER BY id);")
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, err
	}
	n, err := judge(rows, amounts)
	return n, errors.Join(err, d.Close())
}
